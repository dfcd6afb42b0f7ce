use super::*;

#[test]
fn large_numbers_are_kept_or_refused_but_never_truncated() {
    comes_back(i64::MIN, Value::Int(i64::MIN));
    comes_back(u64::MAX, Value::Uint(u64::MAX));
    comes_back(7i128, Value::Int(7));
    comes_back(u128::from(u64::MAX), Value::Uint(u64::MAX));
    assert!(format::to_value(&u128::MAX).is_err());
    assert!(format::to_value(&i128::MIN).is_err());
}

#[test]
fn numbers_are_read_as_any_type_that_they_fit() {
    for value in [Value::Int(3), Value::Uint(3), Value::Float(3.0), Value::Timestamp(3), Value::Counter(3)] {
        assert_eq!(format::from_value::<u8>(&value).unwrap(), 3);
        assert_eq!(format::from_value::<i64>(&value).unwrap(), 3);
        assert_eq!(format::from_value::<u128>(&value).unwrap(), 3);
        assert_eq!(format::from_value::<f64>(&value).unwrap(), 3.0);
        assert_eq!(format::from_value::<f32>(&value).unwrap(), 3.0);
        assert_eq!(format::from_value::<Counter>(&value).unwrap(), Counter(3));
        assert_eq!(format::from_value::<Timestamp>(&value).unwrap(), Timestamp(3));
    }
}

#[test]
fn numbers_that_do_not_fit_without_loss_are_refused() {
    assert!(format::from_value::<u8>(&Value::Int(256)).is_err());
    assert!(format::from_value::<u8>(&Value::Float(-1.0)).is_err());
    assert!(format::from_value::<u8>(&Value::Float(0.5)).is_err());
    assert!(format::from_value::<i64>(&Value::Float(1e300)).is_err());
    assert!(format::from_value::<i64>(&Value::Float(f64::NAN)).is_err());
    assert!(format::from_value::<i64>(&Value::Uint(u64::MAX)).is_err());
    assert!(format::from_value::<u64>(&Value::Float(18_446_744_073_709_551_616.0)).is_err());
    assert!(format::from_value::<f64>(&Value::Int(i64::MAX)).is_err());
    assert_eq!(format::from_value::<f64>(&Value::Int(1 << 62)).unwrap(), (1u64 << 62) as f64);
}

#[test]
fn numbers_with_the_same_numeric_value_are_equal() {
    assert_eq!(Value::Int(3), Value::Float(3.0));
    assert_eq!(Value::Int(3), Value::Counter(3));
    assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
    assert_eq!(Value::Float(0.0), Value::Float(-0.0));
    assert_ne!(Value::Int(i64::MAX), Value::Float(i64::MAX as f64));
    assert_ne!(Value::Uint(u64::MAX), Value::Float(u64::MAX as f64));
    assert_ne!(Value::Int(1), Value::Bool(true));
    assert_eq!(text("a"), scalar("a"));
}
