//! The input of `render`: a scene, its bounds and its defaults.

use schemars::JsonSchema;
use serde::Deserialize;
use windlass_sdk::Error;

use super::vector::Vector;

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

pub(super) fn zenith() -> [f64; 3] {
    [0.25, 0.48, 0.9]
}

impl Default for Sky {
    fn default() -> Self {
        Self { horizon: horizon(), zenith: zenith() }
    }
}

impl Scene {
    /// Everything the schema says, and what it cannot say.
    pub(super) fn validate(&self) -> Result<(), Error> {
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
