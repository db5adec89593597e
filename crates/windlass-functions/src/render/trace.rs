//! Paths of light, followed backwards from the camera.
//!
//! Light from lamps reaches a diffuse surface in two ways that exclude each other, so that none is counted twice: by
//! a ray aimed at a lamp from each diffuse surface, or by a path that meets a lamp after a mirror or glass. The
//! estimate is unbiased but for two things: paths end at the scene's depth, and a path that brings more than
//! [`BRIGHTEST`] is cut to that, which loses a little of the brightest caustics and spares the picture white specks.

use std::f64::consts::PI;

use rand::Rng;
use rand_pcg::Pcg64Dxsm;

use super::geometry::{Geometry, Hit, NEAR, Plane, Ray, Sphere};
use super::scene::{Checker, Material, Scene, Shape, Sky};
use super::vector::{Vector, vector};

/// Most light that one path may bring to a pixel, unless it sees the lamp itself.
const BRIGHTEST: f64 = 10.0;
/// Surfaces that a path meets before it may end by chance.
const SURE_SURFACES: u32 = 4;

/// A scene, made ready.
pub(super) struct Tracer<'a> {
    scene: &'a Scene,
    geometry: Geometry,
    lamps: Vec<Lamp>,
    lens: Lens,
}

/// A sphere that gives light.
struct Lamp {
    sphere: Sphere,
    light: Vector,
}

/// The camera's frame.
struct Lens {
    position: Vector,
    /// From the lens to the middle of the plane in focus.
    forward: Vector,
    /// Half the width and half the height of the picture on that plane.
    right: Vector,
    up: Vector,
    /// The lens itself: its radius to the right and up.
    aperture: (Vector, Vector),
}

/// Where a path goes on, and what of its light a surface leaves.
struct Scattered {
    direction: Vector,
    color: Vector,
    diffuse: bool,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        let (mut spheres, mut planes, mut lamps) = (Vec::new(), Vec::new(), Vec::new());
        for (index, object) in scene.objects.iter().enumerate() {
            match object.shape {
                Shape::Sphere { center, radius } => {
                    let sphere = Sphere { center: center.into(), radius, object: index };
                    spheres.push(sphere);
                    if let Material::Emissive { color, strength } = object.material {
                        lamps.push(Lamp { sphere, light: Vector::from(color) * strength });
                    }
                }
                Shape::Plane { point, normal } => {
                    planes.push(Plane {
                        point: point.into(),
                        normal: Vector::from(normal).unit(),
                        object: index,
                    });
                }
            }
        }
        Self { scene, geometry: Geometry::new(spheres, planes), lamps, lens: Lens::new(scene) }
    }

    /// The light that arrives at a pixel, counted from the top left: the mean over its samples.
    pub(super) fn pixel(&self, x: u32, y: u32, random: &mut Pcg64Dxsm) -> Vector {
        let samples = self.scene.samples;
        // One sample in each cell of a grid over the pixel, as far as they go round: edges are less noisy.
        let cells = f64::from(samples).sqrt().floor() as u32;
        let mut sum = Vector::default();
        for sample in 0..samples {
            let (a, b): (f64, f64) = (random.random(), random.random());
            let (a, b) = if sample < cells * cells {
                let size = 1.0 / f64::from(cells);
                ((f64::from(sample % cells) + a) * size, (f64::from(sample / cells) + b) * size)
            } else {
                (a, b)
            };
            let across = 2.0 * (f64::from(x) + a) / f64::from(self.scene.width) - 1.0;
            let down = 2.0 * (f64::from(y) + b) / f64::from(self.scene.height) - 1.0;
            let ray = self.lens.ray(across, -down, random);
            sum += self.path(ray, random);
        }
        sum / f64::from(samples)
    }

    /// The light that comes along one path.
    fn path(&self, mut ray: Ray, random: &mut Pcg64Dxsm) -> Vector {
        let mut light = Vector::default();
        let mut left = vector(1.0, 1.0, 1.0);
        let mut from_diffuse = false;
        for surface in 0..self.scene.depth {
            let Some(hit) = self.geometry.hit(&ray) else {
                light += left * sky(&self.scene.sky, ray.direction);
                break;
            };
            if let Material::Emissive { color, strength } = self.scene.objects[hit.object].material
            {
                // From a diffuse surface the lamps were aimed at already; planes are no lamps to aim at.
                let aimed_at = from_diffuse
                    && matches!(self.scene.objects[hit.object].shape, Shape::Sphere { .. });
                if !aimed_at {
                    let lamp = left * Vector::from(color) * strength;
                    if surface == 0 {
                        return lamp;
                    }
                    light += lamp;
                }
                break;
            }
            let Some(scattered) = self.scatter(&hit, ray.direction, random) else {
                break;
            };
            if scattered.diffuse {
                let normal = facing(hit.normal, ray.direction);
                light += left * scattered.color * self.lamp_light(hit.point, normal, random);
            }
            from_diffuse = scattered.diffuse;
            left *= scattered.color;
            ray = Ray { origin: hit.point, direction: scattered.direction };
            if surface + 1 >= SURE_SURFACES {
                // A dim path ends by chance; those that go on count for it too.
                let survival = left.largest().min(1.0);
                if random.random::<f64>() >= survival {
                    break;
                }
                left = left / survival;
            }
        }
        let brightest = light.largest();
        if brightest > BRIGHTEST { light * (BRIGHTEST / brightest) } else { light }
    }

    /// Where a path goes on from a surface; nowhere if it is swallowed.
    fn scatter(&self, hit: &Hit, incoming: Vector, random: &mut Pcg64Dxsm) -> Option<Scattered> {
        let normal = facing(hit.normal, incoming);
        match &self.scene.objects[hit.object].material {
            Material::Diffuse { color, checker } => {
                let color =
                    checker.as_ref().map_or(*color, |checker| checkered(*color, checker, hit));
                let direction = cosine_direction(normal, random);
                Some(Scattered { direction, color: color.into(), diffuse: true })
            }
            Material::Metal { color, roughness } => {
                let mirrored = reflect(incoming, normal) + sphere_point(random) * *roughness;
                let color = Vector::from(*color);
                (mirrored.dot(normal) > 0.0).then(|| Scattered {
                    direction: mirrored.unit(),
                    color,
                    diffuse: false,
                })
            }
            Material::Glass { color, refractive_index } => {
                // Planes are thin panes to look through; only spheres have an inside.
                let entering = hit.normal.dot(incoming) < 0.0;
                let ratio = if entering { 1.0 / refractive_index } else { *refractive_index };
                let direction = match refract(incoming, normal, ratio) {
                    Some((refracted, reflectance)) if random.random::<f64>() >= reflectance => {
                        refracted
                    }
                    _ => reflect(incoming, normal),
                };
                Some(Scattered { direction, color: Vector::from(*color), diffuse: false })
            }
            Material::Emissive { .. } => None,
        }
    }

    /// Light of one lamp on a white diffuse surface: by a direction within the cone that the lamp fills, if nothing is
    /// in between. Which lamp is left to chance, each in proportion to the light it would give unobstructed.
    fn lamp_light(&self, point: Vector, normal: Vector, random: &mut Pcg64Dxsm) -> Vector {
        let total: f64 = self.lamps.iter().map(|lamp| lamp.weight(point, normal)).sum();
        let mut pick = random.random::<f64>() * total;
        // The last with any weight, should rounding leave something of the pick.
        let mut picked = None;
        for lamp in &self.lamps {
            let weight = lamp.weight(point, normal);
            if weight > 0.0 {
                picked = Some((lamp, weight));
                pick -= weight;
                if pick < 0.0 {
                    break;
                }
            }
        }
        let Some((lamp, weight)) = picked else { return Vector::default() };
        let to_lamp = lamp.sphere.center - point;
        let distance = to_lamp.length();
        let cosine_max = lamp.cosine(distance);
        let cosine = 1.0 - random.random::<f64>() * (1.0 - cosine_max);
        let direction = around(to_lamp / distance, cosine, random);
        let slope = direction.dot(normal);
        if slope <= 0.0 {
            return Vector::default();
        }
        let ray = Ray { origin: point, direction };
        if self.geometry.hit(&ray).is_none_or(|hit| hit.object != lamp.sphere.object) {
            return Vector::default();
        }
        lamp.light * (slope / PI * solid_angle(cosine_max) * total / weight)
    }
}

impl Lamp {
    /// The cosine of half the angle that the lamp fills at a distance from its center beyond its radius.
    fn cosine(&self, distance: f64) -> f64 {
        let sine = self.sphere.radius / distance;
        (1.0 - sine * sine).max(0.0).sqrt()
    }

    /// About how much light the lamp gives to a surface, at least something wherever it gives any; 0 within it.
    fn weight(&self, point: Vector, normal: Vector) -> f64 {
        let to_lamp = self.sphere.center - point;
        let distance = to_lamp.length();
        let sine = self.sphere.radius / distance;
        let slope = to_lamp.dot(normal) / distance;
        if sine >= 1.0 - NEAR || slope <= -sine {
            return 0.0;
        }
        // Half of the lamp's angle is added, for a lamp that is partly below the horizon.
        (self.light.x + self.light.y + self.light.z) * sine * sine * (slope.max(0.0) + 0.5 * sine)
    }
}

impl Lens {
    fn new(scene: &Scene) -> Self {
        let camera = &scene.camera;
        let position = Vector::from(camera.position);
        let view = Vector::from(camera.look_at) - position;
        let focus = camera.focus_distance.unwrap_or_else(|| view.length());
        let forward = view.unit();
        // Looking straight up or down there is no horizon; then the top of the picture is north, -z.
        let steep = forward.x.abs() + forward.z.abs() < 1e-6;
        let above = if steep { vector(0.0, 0.0, -1.0) } else { vector(0.0, 1.0, 0.0) };
        let right = forward.cross(above).unit();
        let up = right.cross(forward);
        let half_height = (camera.field_of_view_degrees.to_radians() / 2.0).tan() * focus;
        let half_width = half_height * f64::from(scene.width) / f64::from(scene.height);
        let radius = camera.aperture / 2.0;
        Self {
            position,
            forward: forward * focus,
            right: right * half_width,
            up: up * half_height,
            aperture: (right * radius, up * radius),
        }
    }

    /// A ray to a place in the picture, both coordinates in [-1, 1], right and up, from somewhere on the lens.
    fn ray(&self, across: f64, up: f64, random: &mut Pcg64Dxsm) -> Ray {
        let (x, y) = disk_point(random);
        let offset = self.aperture.0 * x + self.aperture.1 * y;
        let target = self.forward + self.right * across + self.up * up;
        Ray { origin: self.position + offset, direction: (target - offset).unit() }
    }
}

/// Light of the sky in a direction.
fn sky(sky: &Sky, direction: Vector) -> Vector {
    let height = direction.y.max(0.0).sqrt();
    Vector::from(sky.horizon) * (1.0 - height) + Vector::from(sky.zenith) * height
}

/// The color at a point of a checkered surface. Looks a little below the surface, so that rounding does not decide on
/// a plane that lies between two layers of cubes.
fn checkered(color: [f64; 3], checker: &Checker, hit: &Hit) -> [f64; 3] {
    let point = (hit.point - hit.normal * (1e-3 * checker.size)) / checker.size;
    let layer = point.x.floor() + point.y.floor() + point.z.floor();
    if layer.rem_euclid(2.0) < 1.0 { color } else { checker.color }
}

/// The normal on the side that the light comes from.
fn facing(normal: Vector, incoming: Vector) -> Vector {
    if normal.dot(incoming) < 0.0 { normal } else { -normal }
}

fn reflect(incoming: Vector, normal: Vector) -> Vector {
    incoming - normal * (2.0 * incoming.dot(normal))
}

/// The refracted direction (Snell) and the part of the light that is reflected instead (Fresnel, exactly, for
/// unpolarized light). `ratio` is the index on this side divided by that on the other. `None`: total reflection.
fn refract(incoming: Vector, normal: Vector, ratio: f64) -> Option<(Vector, f64)> {
    let cosine = -incoming.dot(normal);
    let squared = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
    if squared <= 0.0 {
        return None;
    }
    let refracted = squared.sqrt();
    let perpendicular = (ratio * cosine - refracted) / (ratio * cosine + refracted);
    let parallel = (cosine - ratio * refracted) / (cosine + ratio * refracted);
    let reflectance = 0.5 * (perpendicular * perpendicular + parallel * parallel);
    Some(((incoming * ratio + normal * (ratio * cosine - refracted)).unit(), reflectance))
}

/// A direction at an angle of this cosine to `axis`, turned at random.
fn around(axis: Vector, cosine: f64, random: &mut Pcg64Dxsm) -> Vector {
    let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
    let (turn_sine, turn_cosine) = (2.0 * PI * random.random::<f64>()).sin_cos();
    let (u, v) = axis.tangents();
    (u * (sine * turn_cosine) + v * (sine * turn_sine) + axis * cosine).unit()
}

/// A direction above a surface, as a diffuse one scatters: its density is proportional to the cosine.
fn cosine_direction(normal: Vector, random: &mut Pcg64Dxsm) -> Vector {
    // Never quite 90 degrees: such a ray would run within the surface.
    let cosine = random.random::<f64>().max(1e-9).sqrt();
    around(normal, cosine, random)
}

/// A point in the unit sphere.
fn sphere_point(random: &mut Pcg64Dxsm) -> Vector {
    let z = 1.0 - 2.0 * random.random::<f64>();
    let length = random.random::<f64>().cbrt();
    around(vector(0.0, 0.0, 1.0), z, random) * length
}

/// A point in the unit disk.
fn disk_point(random: &mut Pcg64Dxsm) -> (f64, f64) {
    let length = random.random::<f64>().sqrt();
    let (sine, cosine) = (2.0 * PI * random.random::<f64>()).sin_cos();
    (length * cosine, length * sine)
}

/// The solid angle of a cone whose half angle has this cosine.
fn solid_angle(cosine: f64) -> f64 {
    2.0 * PI * (1.0 - cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refraction_obeys_snell_and_fresnel() {
        let normal = vector(0.0, 1.0, 0.0);
        let (straight, reflectance) = refract(vector(0.0, -1.0, 0.0), normal, 1.0 / 1.5).unwrap();
        assert!((straight.y + 1.0).abs() < 1e-12 && (reflectance - 0.04).abs() < 1e-12);
        let slanted = vector(1.0, -1.0, 0.0).unit();
        let (refracted, _) = refract(slanted, normal, 1.0 / 1.5).unwrap();
        assert!((refracted.x * 1.5 - slanted.x).abs() < 1e-12, "Snell's law");
        assert!(refract(slanted, normal, 1.5).is_none(), "total reflection beyond 41.8 degrees");
    }

    #[test]
    fn diffuse_directions_have_the_density_of_the_cosine() {
        let mut random = Pcg64Dxsm::new(1, 2);
        let normal = vector(1.0, 2.0, -3.0).unit();
        let mean =
            (0..100_000).map(|_| cosine_direction(normal, &mut random).dot(normal)).sum::<f64>()
                / 1e5;
        assert!((mean - 2.0 / 3.0).abs() < 0.005, "{mean}");
    }
}
