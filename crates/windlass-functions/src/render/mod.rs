//! `render`: a path-traced picture of spheres and planes.
//!
//! In: a scene in JSON, in any unit of length, with y up. Out: a PNG, 8-bit sRGB. For each sample of a pixel a path of
//! light is followed backwards from the camera; diffuse surfaces are also lit directly by the lamps, which are the
//! spheres of emissive material. The picture is cut into tiles that run in parallel; a tile has its
//! own random stream, so the same scene gives the same bytes for every parallelism.
//!
//! Deliberately absent: triangles, textures from files, denoising.

mod geometry;
mod scene;
mod trace;
mod vector;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rand_pcg::Pcg64Dxsm;
use windlass_sdk::rayon::prelude::*;
use windlass_sdk::{Error, Run};

pub use scene::{Camera, Checker, Material, Object, Scene, Shape, Sky};

use trace::Tracer;
use vector::Vector;

/// Width and height of a tile. Small enough that the last tiles end together, and a whole divisor of usual sizes.
const TILE: u32 = 16;
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

#[cfg(test)]
mod tests;
