//! What a ray hits: spheres in a tree of boxes, and planes.

use super::vector::{Vector, vector};

/// Where a ray starts again after a hit, so that it does not hit the same point: in units of the scene.
pub(super) const NEAR: f64 = 1e-6;

/// A half-line. The direction has length 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ray {
    pub(super) origin: Vector,
    pub(super) direction: Vector,
}

impl Ray {
    pub(super) fn at(&self, distance: f64) -> Vector {
        self.origin + self.direction * distance
    }
}

/// A sphere; `object` is the place in the scene's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sphere {
    pub(super) center: Vector,
    pub(super) radius: f64,
    pub(super) object: usize,
}

impl Sphere {
    /// Distance along the ray to the nearest hit between `NEAR` and `limit`.
    fn hit(&self, ray: &Ray, limit: f64) -> Option<f64> {
        let to_center = self.center - ray.origin;
        let middle = to_center.dot(ray.direction);
        // The distance of the center from the ray, squared, from the difference of vectors and not of squares: a
        // small sphere far away would cancel (Haines et al., "Precision Improvements for Ray/Sphere", 2019).
        let aside = to_center - ray.direction * middle;
        let half = self.radius * self.radius - aside.dot(aside);
        if half < 0.0 {
            return None;
        }
        let half = half.sqrt();
        [middle - half, middle + half].into_iter().find(|distance| (NEAR..limit).contains(distance))
    }
}

/// An infinite plane through `point`. The normal has length 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) point: Vector,
    pub(super) normal: Vector,
    pub(super) object: usize,
}

impl Plane {
    fn hit(&self, ray: &Ray, limit: f64) -> Option<f64> {
        let slope = ray.direction.dot(self.normal);
        let distance = (self.point - ray.origin).dot(self.normal) / slope;
        // A parallel ray gives an infinite distance or not a number, which are in no range.
        (NEAR..limit).contains(&distance).then_some(distance)
    }
}

/// The nearest hit of a ray.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) point: Vector,
    /// Outward for a sphere, as given for a plane. Length 1.
    pub(super) normal: Vector,
    /// Place in the scene's list.
    pub(super) object: usize,
}

/// All shapes of a scene, ready to be hit.
#[derive(Debug)]
pub(super) struct Geometry {
    /// In the order of the tree's leaves.
    spheres: Vec<Sphere>,
    planes: Vec<Plane>,
    /// The root is the first; empty without spheres.
    nodes: Vec<Node>,
}

/// A box around spheres. An inner node's first child follows it in the list.
#[derive(Clone, Copy, Debug)]
struct Node {
    low: Vector,
    high: Vector,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Leaf {
        first: usize,
        count: usize,
    },
    /// `axis`: along which the children lie apart, the first one lower.
    Inner {
        second: usize,
        axis: usize,
    },
}

/// Spheres of a leaf at most.
const LEAF: usize = 2;
/// Nodes that may wait to be visited; deeper trees than this are split in halves, see [`build`].
const DEPTH: usize = 64;

impl Geometry {
    pub(super) fn new(mut spheres: Vec<Sphere>, planes: Vec<Plane>) -> Self {
        let mut nodes = Vec::new();
        if !spheres.is_empty() {
            build(&mut spheres, 0, 0, &mut nodes);
        }
        Self { spheres, planes, nodes }
    }

    /// The nearest hit, if any.
    pub(super) fn hit(&self, ray: &Ray) -> Option<Hit> {
        let mut limit = f64::INFINITY;
        let mut nearest = None;
        for plane in &self.planes {
            if let Some(distance) = plane.hit(ray, limit) {
                limit = distance;
                nearest = Some(Hit {
                    point: ray.at(distance),
                    normal: plane.normal,
                    object: plane.object,
                });
            }
        }
        let mut sphere_hit = None;
        self.visit(ray, limit, |sphere, limit| {
            let distance = sphere.hit(ray, limit)?;
            sphere_hit = Some((distance, *sphere));
            Some(distance)
        });
        if let Some((distance, sphere)) = sphere_hit {
            let point = ray.at(distance);
            let normal = (point - sphere.center) / sphere.radius;
            nearest = Some(Hit { point, normal, object: sphere.object });
        }
        nearest
    }

    /// Calls `visit` for the spheres whose boxes the ray meets before `limit`, which each answer may lower.
    fn visit(&self, ray: &Ray, mut limit: f64, mut visit: impl FnMut(&Sphere, f64) -> Option<f64>) {
        // Never infinite, so that 0 times it is 0.
        let invert = |number: f64| {
            1.0 / if number.abs() < 1e-12 { 1e-12_f64.copysign(number) } else { number }
        };
        let direction = ray.direction;
        let inverse = vector(invert(direction.x), invert(direction.y), invert(direction.z));
        let mut stack = [0; DEPTH];
        let mut waiting = usize::from(!self.nodes.is_empty());
        while waiting > 0 {
            waiting -= 1;
            let index = stack[waiting];
            let node = &self.nodes[index];
            if !node.meets(ray.origin, inverse, limit) {
                continue;
            }
            match node.kind {
                Kind::Leaf { first, count } => {
                    for sphere in &self.spheres[first..first + count] {
                        limit = visit(sphere, limit).unwrap_or(limit);
                    }
                }
                Kind::Inner { second, axis } => {
                    // The last one put down is visited first: the one that the ray meets first, as a rule.
                    let forward = direction.component(axis) >= 0.0;
                    let (near, far) =
                        if forward { (index + 1, second) } else { (second, index + 1) };
                    stack[waiting] = far;
                    stack[waiting + 1] = near;
                    waiting += 2;
                }
            }
        }
    }
}

impl Node {
    /// The slab test. All numbers are finite, so minimum and maximum are single instructions.
    fn meets(&self, origin: Vector, inverse: Vector, limit: f64) -> bool {
        let min = |a: f64, b: f64| if a < b { a } else { b };
        let max = |a: f64, b: f64| if a > b { a } else { b };
        let (low, high) = ((self.low - origin) * inverse, (self.high - origin) * inverse);
        let enter = max(max(min(low.x, high.x), min(low.y, high.y)), min(low.z, high.z));
        let leave = min(min(max(low.x, high.x), max(low.y, high.y)), max(low.z, high.z));
        enter <= leave && leave >= NEAR && enter < limit
    }
}

/// The box around some spheres.
fn bounds(spheres: &[Sphere]) -> (Vector, Vector) {
    let nothing = vector(f64::INFINITY, f64::INFINITY, f64::INFINITY);
    spheres.iter().fold((nothing, -nothing), |(low, high), sphere| {
        let reach = vector(sphere.radius, sphere.radius, sphere.radius);
        (low.min(sphere.center - reach), high.max(sphere.center + reach))
    })
}

/// Half the surface of the box around some spheres: how likely a ray meets it.
fn surface(spheres: &[Sphere]) -> f64 {
    let (low, high) = bounds(spheres);
    let size = high - low;
    size.x * size.y + size.y * size.z + size.z * size.x
}

/// Builds the tree of `spheres`, the first of which has the index `offset`. Splits where the rays have least to test,
/// which is about the number of spheres in each part times its surface (Goldsmith & Salmon 1987): one sphere that
/// is large or far away gets a part of its own. For a thousand spheres all splits can be tried.
fn build(spheres: &mut [Sphere], offset: usize, depth: usize, nodes: &mut Vec<Node>) {
    let (low, high) = bounds(spheres);
    let index = nodes.len();
    nodes.push(Node { low, high, kind: Kind::Leaf { first: offset, count: spheres.len() } });
    if spheres.len() <= LEAF {
        return;
    }
    let (axis, middle) = best_split(spheres, depth);
    sort_along(spheres, axis);
    let (left, right) = spheres.split_at_mut(middle);
    build(left, offset, depth + 1, nodes);
    nodes[index].kind = Kind::Inner { second: nodes.len(), axis };
    build(right, offset + left.len(), depth + 1, nodes);
}

/// The axis and the number of spheres in the lower part.
fn best_split(spheres: &mut [Sphere], depth: usize) -> (usize, usize) {
    let count = spheres.len();
    let mut best = (0, count / 2);
    // Halves keep a degenerate tree from growing beyond the stack of those who visit it.
    if depth >= DEPTH / 2 {
        return best;
    }
    let mut least = f64::INFINITY;
    for axis in 0..3 {
        sort_along(spheres, axis);
        // A few hundred candidates at most: with more, every other one and so on will do.
        for middle in (1..count).step_by(1 + count / 256) {
            let (left, right) = spheres.split_at(middle);
            let cost = surface(left) * left.len() as f64 + surface(right) * right.len() as f64;
            if cost < least {
                (least, best) = (cost, (axis, middle));
            }
        }
    }
    best
}

fn sort_along(spheres: &mut [Sphere], axis: usize) {
    spheres.sort_by(|a, b| a.center.component(axis).total_cmp(&b.center.component(axis)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cloud of spheres of different sizes, without a random generator.
    fn cloud(count: usize) -> Vec<Sphere> {
        let sphere = |object: usize| {
            let turn = object as f64 * 2.4;
            let center =
                vector(turn.sin() * 5.0, (turn * 1.7).cos() * 5.0, (turn * 0.3).sin() * 5.0);
            Sphere { center, radius: 0.1 + 0.3 * (turn * 3.1).sin().abs(), object }
        };
        (0..count).map(sphere).collect()
    }

    #[test]
    fn the_tree_finds_the_same_sphere_as_trying_all() {
        let spheres = cloud(200);
        let geometry = Geometry::new(spheres.clone(), Vec::new());
        let mut hits = 0;
        for step in 0..5000 {
            let turn = f64::from(step) * 0.618;
            let origin =
                vector(turn.cos() * 9.0, (turn * 0.7).sin() * 9.0, (turn * 1.3).cos() * 9.0);
            let aim = vector(
                (turn * 5.0).sin() * 4.0,
                (turn * 3.0).cos() * 4.0,
                (turn * 2.0).sin() * 4.0,
            );
            let ray = Ray { origin, direction: (aim - origin).unit() };
            let nearest = spheres
                .iter()
                .filter_map(|sphere| Some((sphere.hit(&ray, f64::INFINITY)?, sphere.object)))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(geometry.hit(&ray).map(|hit| hit.object), nearest.map(|(_, object)| object));
            hits += usize::from(nearest.is_some());
        }
        assert!((500..4500).contains(&hits), "{hits} of 5000 rays hit: a weak test");
    }

    /// Each is far larger than all before: the best split leaves one alone, so the tree is a list.
    #[test]
    fn a_degenerate_tree_can_be_visited() {
        let sphere = |object: usize| {
            let size = 1.3_f64.powi(object as i32 % 60);
            Sphere {
                center: vector(size * 2.0, object as f64 * 1e-6, 0.0),
                radius: 0.5 * size,
                object,
            }
        };
        let spheres: Vec<Sphere> = (0..1000).map(sphere).collect();
        let geometry = Geometry::new(spheres, Vec::new());
        let ray = Ray { origin: Vector::default(), direction: vector(1.0, 0.0, 0.0) };
        assert!(geometry.hit(&ray).is_some_and(|hit| (hit.point.x - 1.5).abs() < 1e-3));
    }

    #[test]
    fn a_ray_along_an_axis_meets_a_box_that_it_starts_on() {
        let sphere = Sphere { center: vector(0.0, 0.0, 5.0), radius: 1.0, object: 0 };
        let geometry = Geometry::new(vec![sphere; 5], Vec::new());
        let ray = Ray { origin: vector(0.0, 0.0, 0.0), direction: vector(0.0, 0.0, 1.0) };
        assert_eq!(geometry.hit(&ray).map(|hit| hit.point), Some(vector(0.0, 0.0, 4.0)));
    }

    #[test]
    fn a_plane_is_hit_from_both_sides_and_not_along_it() {
        let plane = Plane { point: Vector::default(), normal: vector(0.0, 1.0, 0.0), object: 0 };
        let geometry = Geometry::new(Vec::new(), vec![plane]);
        let hit = |y: f64, direction| {
            geometry.hit(&Ray { origin: vector(0.0, y, 0.0), direction }).is_some()
        };
        assert!(hit(1.0, vector(0.0, -1.0, 0.0)) && hit(-1.0, vector(0.0, 1.0, 0.0)));
        assert!(!hit(1.0, vector(1.0, 0.0, 0.0)) && !hit(0.0, vector(1.0, 0.0, 0.0)));
    }
}
