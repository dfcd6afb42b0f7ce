use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Named {
    first_name: String,
    #[serde(skip)]
    cached: u8,
    #[serde(default)]
    age: u8,
}

#[test]
fn the_shape_of_a_struct_lists_its_fields() {
    assert_eq!(format::shape::<Named>().unwrap().fields.unwrap(), ["firstName", "age"]);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Wrapper(Named);
    assert_eq!(format::shape::<Wrapper>().unwrap().fields.unwrap(), ["firstName", "age"]);
    assert_eq!(format::shape::<Box<Named>>().unwrap().fields.unwrap(), ["firstName", "age"]);
    #[derive(Deserialize)]
    struct Empty {}
    assert_eq!(format::shape::<Empty>().unwrap().fields.unwrap(), [""; 0]);
    #[derive(Deserialize)]
    #[serde(tag = "t", content = "c")]
    #[allow(dead_code)]
    enum Adjacent {
        A(u8),
    }
    assert_eq!(format::shape::<Adjacent>().unwrap().fields.unwrap(), ["t", "c"]);
}

#[test]
fn fields_that_only_a_value_shows_are_left_open() {
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code)]
    enum Internal {
        A { x: u8 },
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Untagged {
        A { x: u8 },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flattened {
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    assert_eq!(format::shape::<Internal>().unwrap().fields, None);
    assert_eq!(format::shape::<Untagged>().unwrap().fields, None);
    assert_eq!(format::shape::<Flattened>().unwrap().fields, None);
    assert_eq!(format::shape::<BTreeMap<String, u8>>().unwrap().fields, None);
}

#[track_caller]
fn refused<T: DeserializeOwned>(why: &str) {
    let error = format::shape::<T>().unwrap_err().to_string();
    assert!(error.contains(std::any::type_name::<T>()) && error.contains(why), "{error}");
}

#[test]
fn a_type_that_cannot_be_a_document_is_refused_with_advice() {
    #[derive(Deserialize)]
    struct Unit;
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Score(u32);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Pair(u32, u32);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum External {
        A { x: u8 },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct WithId {
        id: String,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct WithDeleted {
        deleted: bool,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Underscored {
        _x: bool,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Strict {
        x: bool,
    }
    refused::<Score>("it is a number; give it named fields");
    refused::<String>("it is a string; give it named fields");
    refused::<bool>("it is a boolean; give it named fields");
    refused::<Vec<Named>>("it is a list; give it named fields");
    refused::<(u8, u8)>("it is a tuple or an array; give it named fields");
    refused::<Pair>("it is a tuple struct; give it named fields");
    refused::<Unit>("it is a struct without fields; give it named fields");
    refused::<Option<Named>>("it is an option; give it named fields");
    refused::<Bytes>("it is bytes; give it named fields");
    refused::<Counter>("it is a counter; give it named fields");
    refused::<Timestamp>("it is a timestamp; give it named fields");
    refused::<Scalar>("it is a string; give it named fields");
    refused::<External>("use `#[serde(tag = \"kind\")]`");
    refused::<WithId>("`id` is reserved");
    refused::<WithDeleted>("`deleted` is reserved");
    refused::<Underscored>("does not store a field called `_x`");
    refused::<Strict>("remove `#[serde(deny_unknown_fields)]`");
}
