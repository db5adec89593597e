//! Pictures whose light is known, and scenes that are refused.

use windlass_sdk::rayon;

use super::scene::{Material, Shape, zenith};
use super::*;

const EXAMPLE: &str = include_str!("../../../../examples/scene.json");

fn example() -> Scene {
    windlass_sdk::parse_input(EXAMPLE.as_bytes()).unwrap()
}

fn scene(json: serde_json::Value) -> Scene {
    let scene: Scene = serde_json::from_value(json).unwrap();
    scene.validate().unwrap();
    scene
}

#[test]
fn the_example_becomes_a_png_of_its_size() {
    let scene = Scene { width: 50, height: 37, samples: 2, ..example() };
    let png = render(scene, &Run::detached(1)).unwrap();
    let picture = image::load_from_memory(&png).unwrap();
    assert_eq!((picture.width(), picture.height()), (50, 37));
}

#[test]
fn every_parallelism_gives_the_same_bytes() {
    let scene = Scene { width: 70, height: 50, samples: 4, ..example() };
    let render_on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| render(scene.clone(), &Run::detached(threads))).unwrap()
    };
    let expected = render_on(1);
    assert!([2, 3, 8].into_iter().all(|threads| render_on(threads) == expected));
    let other = Scene { seed: 99, ..scene.clone() };
    assert_ne!(render(other, &Run::detached(1)).unwrap(), expected);
}

/// The furnace: what reflects all light, in light that is the same from everywhere, cannot be seen.
#[test]
fn white_things_vanish_in_white_light() {
    for material in [
        serde_json::json!({"diffuse": {"color": [1, 1, 1]}}),
        serde_json::json!({"metal": {"color": [1, 1, 1]}}),
        serde_json::json!({"glass": {"refractiveIndex": 1.5}}),
    ] {
        let scene = scene(serde_json::json!({
            "width": 16, "height": 16, "samples": 64, "depth": 64,
            "camera": {"position": [0, 0, 4], "lookAt": [0, 0, 0]},
            "sky": {"horizon": [0.5, 0.5, 0.5], "zenith": [0.5, 0.5, 0.5]},
            "objects": [{"shape": {"sphere": {"center": [0, 0, 0], "radius": 1}}, "material": material}],
        }));
        let background = developed(Vector::from([0.5; 3]))[0];
        for pixel in pixels(&scene, &Run::detached(1)).unwrap() {
            // Russian roulette and rounding move a pixel by a few of 255.
            assert!(pixel.abs_diff(background) <= 6, "{pixel} instead of {background}: {material}");
        }
    }
}

/// A white floor under a small lamp: radiance = albedo / pi * lamp * solid angle * cosine.
#[test]
fn a_lamp_lights_the_floor_as_the_formula_says() {
    let scene = scene(serde_json::json!({
        "width": 1, "height": 1, "samples": 4096,
        "camera": {"position": [0, 1, 3], "lookAt": [0, 0, 0], "fieldOfViewDegrees": 1},
        "sky": {"horizon": [0, 0, 0], "zenith": [0, 0, 0]},
        "objects": [
            {"shape": {"plane": {"point": [0, 0, 0], "normal": [0, 1, 0]}}, "material": {"diffuse": {"color": [0.5, 0.5, 0.5]}}},
            {"shape": {"sphere": {"center": [0, 4, 0], "radius": 0.2}}, "material": {"emissive": {"color": [1, 1, 1], "strength": 100}}},
        ],
    }));
    // E = pi L (r / d)^2 straight below a sphere, radiance = albedo / pi * E; 0.2 % more for the pixel's extent.
    let expected = 0.5 * 100.0 * (0.2_f64 / 4.0).powi(2);
    let mut random = Pcg64Dxsm::new(1, 1);
    let found = Tracer::new(&scene).pixel(0, 0, &mut random).x;
    assert!((found / expected - 1.0).abs() < 0.01, "{found} instead of {expected}");
}

#[test]
fn an_empty_scene_shows_the_sky() {
    let scene = scene(serde_json::json!({
        "width": 3, "height": 3, "samples": 1, "objects": [],
        "camera": {"position": [0, 0, 0], "lookAt": [0, 1, 0]},
    }));
    let middle = pixels(&scene, &Run::detached(1)).unwrap()[12..15].to_vec();
    let zenith = developed(Vector::from(zenith()));
    assert!(middle.iter().zip(zenith).all(|(a, b)| a.abs_diff(b) < 25), "{middle:?} {zenith:?}");
}

#[test]
fn values_out_of_range_are_blamed_by_their_pointer() {
    for (change, pointer) in [
        ((|s| s.width = 0) as fn(&mut Scene), "/width:"),
        (|s| (s.width, s.height) = (8000, 8000), "/width:"),
        (|s| s.samples = 1 << 20, "/samples:"),
        (|s| s.camera.look_at = s.camera.position, "/camera/lookAt:"),
        (|s| s.camera.aperture = f64::NAN, "/camera/aperture:"),
        (
            |s| s.objects[0].shape = Shape::Plane { point: [0.0; 3], normal: [0.0; 3] },
            "/objects/0/shape/plane/normal:",
        ),
        (
            |s| s.objects[1].material = Material::Metal { color: [0.5, 2.0, 0.5], roughness: 0.0 },
            "/objects/1/material/metal/color:",
        ),
    ] {
        let mut scene = example();
        change(&mut scene);
        let error = render(scene, &Run::detached(1)).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().starts_with(&format!("bad input at {pointer}")), "{error}");
    }
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    let known: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
    for place in [
        "",
        "/camera",
        "/sky",
        "/objects/0",
        "/objects/0/shape/plane",
        "/objects/0/material/diffuse",
    ] {
        let mut input = known.clone();
        let object = input.pointer_mut(place).and_then(|value| value.as_object_mut()).unwrap();
        object.insert("surprise".to_owned(), serde_json::Value::Null);
        let error = windlass_sdk::parse_input::<Scene>(input.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("surprise"), "{place}: {error}");
    }
}

#[test]
fn a_stopped_run_ends_early() {
    let run = Run::detached(1);
    run.stop();
    assert!(render(example(), &run).unwrap_err().is_cancelled());
}
