//! Checks that a screenshot is not blank: `check-picture FILE`. If it is, the program prints the reason and exits
//! with 1.

use std::{collections::HashMap, process::ExitCode};

/// The least number of colours. A board has text with smooth edges, so it has many shades; a blank window has one,
/// and an error screen a few.
const COLOURS: usize = 100;
/// The largest share of the most frequent colour. The background may fill most of the picture, but not all of it.
const BACKGROUND: f64 = 0.97;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: check-picture FILE");
        return ExitCode::from(2);
    };
    match check(&file) {
        Ok(what) => {
            println!("{}: {what}", file.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}: {why}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn check(file: &std::ffi::OsStr) -> Result<String, String> {
    let picture = image::open(file).map_err(|error| format!("cannot be read as a picture: {error}"))?.to_rgb8();
    let pixels = u64::from(picture.width()) * u64::from(picture.height());
    let mut colours: HashMap<[u8; 3], u64> = HashMap::new();
    for pixel in picture.pixels() {
        *colours.entry(pixel.0).or_default() += 1;
    }
    let most = colours.values().copied().max().unwrap_or(0) as f64 / pixels.max(1) as f64;
    if colours.len() < COLOURS {
        return Err(format!("looks blank: {} colours, at least {COLOURS} are expected", colours.len()));
    }
    if most > BACKGROUND {
        return Err(format!("looks blank: {:.1} % of it has one colour", most * 100.0));
    }
    Ok(format!(
        "{} x {}, {} colours, {:.0} % background",
        picture.width(),
        picture.height(),
        colours.len(),
        most * 100.0
    ))
}
