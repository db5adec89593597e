//! `render`: a path-traced picture of spheres and planes.
//!
//! In: a scene in JSON, in any unit of length, with y up. Out: a PNG, 8-bit sRGB. For each sample of a pixel a path of
//! light is followed backwards from the camera; diffuse surfaces are also lit directly by the lamps, which are the
//! spheres of emissive material. The picture is cut into tiles that run in parallel; a tile has its
//! own random stream, so the same scene gives the same bytes for every parallelism.
//!
//! Deliberately absent: triangles, textures from files, denoising.

mod geometry;
mod trace;
mod vector;

use std::f64::consts::PI;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rand_pcg::Pcg64Dxsm;
use schemars::JsonSchema;
use serde::Deserialize;
use windlass_sdk::rayon::prelude::*;
use windlass_sdk::{Error, Run};

use trace::Tracer;
use vector::Vector;

/// Width and height of a tile. Small enough that the last tiles end together, and a whole divisor of usual sizes.
const TILE: u32 = 16;
/// Most pixels of a picture: 4K.
const MAX_PIXELS: u32 = 3840 * 2160;
/// Most objects.
const MAX_OBJECTS: usize = 1000;
/// Largest coordinate and length.
const FAR: f64 = 1e5;

/// A scene and how to render it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scene {
    /// Pixels from left to right. At most 8,294,400 pixels in all.
    #[schemars(range(min = 1, max = 8192))]
    pub width: u32,
    /// Pixels from top to bottom.
    #[schemars(range(min = 1, max = 8192))]
    pub height: u32,
    /// Paths for each pixel. The noise falls with the square root, the time grows in proportion.
    #[schemars(range(min = 1, max = 16384))]
    pub samples: u32,
    /// Most surfaces that a path of light meets. Default 12.
    #[serde(default = "default_depth")]
    #[schemars(range(min = 1, max = 64))]
    pub depth: u32,
    /// Seed of the random numbers. The same scene gives the same picture, for every parallelism. Default 0.
    #[serde(default)]
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
    /// Brightness of the picture: twice as much is one stop. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub exposure: f64,
    /// Where from.
    pub camera: Camera,
    /// The light that comes from everywhere. Default: a clear day.
    #[serde(default)]
    pub sky: Sky,
    /// What there is to see.
    #[schemars(length(max = MAX_OBJECTS))]
    pub objects: Vec<Object>,
}

/// A camera with a thin lens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Camera {
    /// Where it stands: x, y (up), z.
    #[schemars(inner(range(min = -FAR, max = FAR)))]
    pub position: [f64; 3],
    /// The point in the middle of the picture.
    #[schemars(inner(range(min = -FAR, max = FAR)))]
    pub look_at: [f64; 3],
    /// Angle from the bottom of the picture to its top, in degrees. Default 40.
    #[serde(default = "default_field_of_view")]
    #[schemars(range(min = 1.0, max = 170.0))]
    pub field_of_view_degrees: f64,
    /// Diameter of the lens. 0, the default, shows everything sharp.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub aperture: f64,
    /// Distance at which things are sharp. Default: that of the point looked at.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = FAR))]
    pub focus_distance: Option<f64>,
}

/// Light from all directions, blended from the horizon to the zenith; below the horizon like the horizon.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sky {
    /// At the horizon: linear red, green, blue. Default white, [0.95, 0.97, 1].
    #[serde(default = "horizon")]
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub horizon: [f64; 3],
    /// Straight up. Default blue, [0.25, 0.48, 0.9].
    #[serde(default = "zenith")]
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub zenith: [f64; 3],
}

/// Something to see.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// Its form and place.
    pub shape: Shape,
    /// What it is made of.
    pub material: Material,
}

/// Form and place of an object.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Shape {
    /// A sphere.
    Sphere {
        /// Its center: x, y (up), z.
        #[schemars(inner(range(min = -FAR, max = FAR)))]
        center: [f64; 3],
        /// Its radius.
        #[schemars(range(min = 0.001, max = FAR))]
        radius: f64,
    },
    /// A plane without end.
    Plane {
        /// A point on it.
        #[schemars(inner(range(min = -FAR, max = FAR)))]
        point: [f64; 3],
        /// A direction at right angles to it, of any length but 0.
        #[schemars(inner(range(min = -FAR, max = FAR)))]
        normal: [f64; 3],
    },
}

/// What an object is made of. Colors are linear red, green, blue: the part of the light that is reflected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Material {
    /// Matt, like paper.
    Diffuse {
        /// Color.
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        color: [f64; 3],
        /// Cubes of a second color, checkered through space.
        #[serde(default)]
        checker: Option<Checker>,
    },
    /// A mirror, clear or brushed.
    Metal {
        /// Color.
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        color: [f64; 3],
        /// 0, the default, is a clear mirror, 1 is nearly matt.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 1.0))]
        roughness: f64,
    },
    /// Clear, refracting.
    Glass {
        /// Color that each passage through the surface gives. Default white.
        #[serde(default = "white")]
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        color: [f64; 3],
        /// Index of refraction. Default 1.5, window glass.
        #[serde(default = "window_glass")]
        #[schemars(range(min = 1.0, max = 4.0))]
        refractive_index: f64,
    },
    /// A lamp: gives light, reflects none.
    Emissive {
        /// Color of its light.
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        color: [f64; 3],
        /// Times as bright as the color; the white of a picture at exposure 1 is about 1.
        #[schemars(range(min = 0.0, max = 1e6))]
        strength: f64,
    },
}

/// The second color of a checkered surface.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checker {
    /// Color.
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub color: [f64; 3],
    /// Edge of a cube.
    #[schemars(range(min = 0.001, max = FAR))]
    pub size: f64,
}

fn default_depth() -> u32 {
    12
}

fn default_field_of_view() -> f64 {
    40.0
}

fn one() -> f64 {
    1.0
}

fn window_glass() -> f64 {
    1.5
}

fn white() -> [f64; 3] {
    [1.0; 3]
}

fn horizon() -> [f64; 3] {
    [0.95, 0.97, 1.0]
}

fn zenith() -> [f64; 3] {
    [0.25, 0.48, 0.9]
}

impl Default for Sky {
    fn default() -> Self {
        Self { horizon: horizon(), zenith: zenith() }
    }
}

/// Renders a scene to a PNG.
///
/// # Errors
/// Bad input when a field is out of its range; cancelled when the run was asked to stop.
pub fn render(scene: Scene, run: &Run) -> Result<Vec<u8>, Error> {
    scene.validate()?;
    let pixels = pixels(&scene, run)?;
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive)
        .write_image(&pixels, scene.width, scene.height, ExtendedColorType::Rgb8)?;
    Ok(png)
}

/// Red, green and blue of all pixels, row by row from the top left.
fn pixels(scene: &Scene, run: &Run) -> Result<Vec<u8>, Error> {
    let tracer = Tracer::new(scene);
    let (columns, rows) = (scene.width.div_ceil(TILE), scene.height.div_ceil(TILE));
    run.progress().set_total(u64::from(scene.width) * u64::from(scene.height));
    let tiles: Vec<Tile> = (0..columns * rows)
        .into_par_iter()
        .with_max_len(1)
        .map(|index| Tile::render(index, columns, scene, &tracer, run))
        .collect::<Result<_, Error>>()?;
    let mut pixels = vec![0; 3 * scene.width as usize * scene.height as usize];
    for tile in tiles {
        let bytes = 3 * tile.width as usize;
        for (row, line) in (tile.top..).zip(tile.pixels.chunks_exact(bytes)) {
            let start = 3 * (row as usize * scene.width as usize + tile.left as usize);
            pixels[start..start + bytes].copy_from_slice(line);
        }
    }
    Ok(pixels)
}

/// A part of the picture; at the right and the bottom it may be narrower.
struct Tile {
    left: u32,
    top: u32,
    width: u32,
    pixels: Vec<u8>,
}

impl Tile {
    fn render(
        index: u32,
        columns: u32,
        scene: &Scene,
        tracer: &Tracer,
        run: &Run,
    ) -> Result<Self, Error> {
        let (left, top) = (index % columns * TILE, index / columns * TILE);
        let (right, bottom) = ((left + TILE).min(scene.width), (top + TILE).min(scene.height));
        let mut random = Pcg64Dxsm::new(u128::from(scene.seed), u128::from(index));
        let mut pixels = Vec::with_capacity(3 * (TILE * TILE) as usize);
        for y in top..bottom {
            for x in left..right {
                // A pixel of many samples takes tens of milliseconds, so here and not once a tile.
                run.check()?;
                let light = tracer.pixel(x, y, &mut random);
                pixels.extend(developed(light * scene.exposure));
                run.progress().add(1);
            }
        }
        Ok(Self { left, top, width: right - left, pixels })
    }
}

/// From linear light to 8-bit sRGB: highlights are compressed as film does (Narkowicz's fit of the ACES curve, 2015),
/// then the transfer curve of IEC 61966-2-1.
fn developed(light: Vector) -> [u8; 3] {
    [light.x, light.y, light.z].map(|light| {
        let film = (light * (2.51 * light + 0.03)) / (light * (2.43 * light + 0.59) + 0.14);
        let linear = film.clamp(0.0, 1.0);
        let encoded = if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        // In 0 to 255 by the clamp.
        (encoded * 255.0).round() as u8
    })
}

impl Scene {
    /// Everything the schema says, and what it cannot say.
    fn validate(&self) -> Result<(), Error> {
        let bad = |pointer: &str, message: String| Err(Error::bad_input(pointer, message));
        for (pointer, value, max) in [
            ("/width", self.width, 8192),
            ("/height", self.height, 8192),
            ("/samples", self.samples, 16384),
            ("/depth", self.depth, 64),
        ] {
            if value < 1 || value > max {
                return bad(pointer, format!("is {value}, must be from 1 to {max}"));
            }
        }
        if self.width * self.height > MAX_PIXELS {
            return bad("/width", format!("times height must be at most {MAX_PIXELS}"));
        }
        if self.objects.len() > MAX_OBJECTS {
            return bad("/objects", format!("must have at most {MAX_OBJECTS} elements"));
        }
        within("/exposure", &[self.exposure], 0.001, 1000.0)?;
        within("/sky/horizon", &self.sky.horizon, 0.0, 100.0)?;
        within("/sky/zenith", &self.sky.zenith, 0.0, 100.0)?;
        let camera = &self.camera;
        within("/camera/position", &camera.position, -FAR, FAR)?;
        within("/camera/lookAt", &camera.look_at, -FAR, FAR)?;
        within("/camera/fieldOfViewDegrees", &[camera.field_of_view_degrees], 1.0, 170.0)?;
        within("/camera/aperture", &[camera.aperture], 0.0, 100.0)?;
        within("/camera/focusDistance", camera.focus_distance.as_slice(), 0.001, FAR)?;
        let view = Vector::from(camera.look_at) - Vector::from(camera.position);
        if view.length() < 1e-3 {
            return bad("/camera/lookAt", "must be apart from the position".to_owned());
        }
        self.objects.iter().enumerate().try_for_each(|(index, object)| object.validate(index))
    }
}

impl Object {
    fn validate(&self, index: usize) -> Result<(), Error> {
        let at = |field: &str| format!("/objects/{index}/{field}");
        match &self.shape {
            Shape::Sphere { center, radius } => {
                within(&at("shape/sphere/center"), center, -FAR, FAR)?;
                within(&at("shape/sphere/radius"), &[*radius], 0.001, FAR)?;
            }
            Shape::Plane { point, normal } => {
                within(&at("shape/plane/point"), point, -FAR, FAR)?;
                within(&at("shape/plane/normal"), normal, -FAR, FAR)?;
                if Vector::from(*normal).length() < 1e-6 {
                    return Err(Error::bad_input(at("shape/plane/normal"), "has no direction"));
                }
            }
        }
        match &self.material {
            Material::Diffuse { color, checker } => {
                within(&at("material/diffuse/color"), color, 0.0, 1.0)?;
                if let Some(Checker { color, size }) = checker {
                    within(&at("material/diffuse/checker/color"), color, 0.0, 1.0)?;
                    within(&at("material/diffuse/checker/size"), &[*size], 0.001, FAR)?;
                }
            }
            Material::Metal { color, roughness } => {
                within(&at("material/metal/color"), color, 0.0, 1.0)?;
                within(&at("material/metal/roughness"), &[*roughness], 0.0, 1.0)?;
            }
            Material::Glass { color, refractive_index } => {
                within(&at("material/glass/color"), color, 0.0, 1.0)?;
                within(&at("material/glass/refractiveIndex"), &[*refractive_index], 1.0, 4.0)?;
            }
            Material::Emissive { color, strength } => {
                within(&at("material/emissive/color"), color, 0.0, 1.0)?;
                within(&at("material/emissive/strength"), &[*strength], 0.0, 1e6)?;
            }
        }
        Ok(())
    }
}

/// Blames `pointer` unless all values are in the range; what is not a number is in none.
fn within(pointer: &str, values: &[f64], min: f64, max: f64) -> Result<(), Error> {
    match values.iter().find(|value| !(min..=max).contains(*value)) {
        Some(value) => {
            Err(Error::bad_input(pointer, format!("is {value}, must be from {min} to {max}")))
        }
        None => Ok(()),
    }
}

/// The solid angle of a cone whose half angle has this cosine.
fn solid_angle(cosine: f64) -> f64 {
    2.0 * PI * (1.0 - cosine)
}

#[cfg(test)]
mod tests {
    use windlass_sdk::rayon;

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
                assert!(
                    pixel.abs_diff(background) <= 6,
                    "{pixel} instead of {background}: {material}"
                );
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
        assert!(
            middle.iter().zip(zenith).all(|(a, b)| a.abs_diff(b) < 25),
            "{middle:?} {zenith:?}"
        );
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
                |s| {
                    s.objects[1].material =
                        Material::Metal { color: [0.5, 2.0, 0.5], roughness: 0.0 }
                },
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
            let error =
                windlass_sdk::parse_input::<Scene>(input.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains("surprise"), "{place}: {error}");
        }
    }

    #[test]
    fn a_stopped_run_ends_early() {
        let run = Run::detached(1);
        run.stop();
        assert!(render(example(), &run).unwrap_err().is_cancelled());
    }
}
