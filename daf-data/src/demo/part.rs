//! Small parts on a background.

use std::f32::consts::TAU;

use daf_core::rand::{Rng, RngExt};

use super::Scene;
use super::fault::{Fault, Mark};
use super::field::{Rgb, Vec2, blend, cloud, cover, mix, noise, ramp, rounded_box, scaled, segment, vec2};

/// Direction of the light.
const LIGHT: Vec2 = vec2(-0.6, -0.8);

/// A turned washer on a dark mat.
#[derive(Debug)]
pub(super) struct Washer {
    center: Vec2,
    outer: f32,
    inner: f32,
    turn: f32,
    seed: u32,
}

impl Washer {
    pub(super) const FAULTS: &[Fault] = &[Fault::Bend, Fault::Chip, Fault::Rust, Fault::Scratch];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            center: vec2(
                0.5 + rng.random_range(-0.04..0.04),
                0.5 + rng.random_range(-0.04..0.04),
            ),
            outer: rng.random_range(0.355..0.365),
            inner: rng.random_range(0.165..0.17),
            turn: rng.random_range(-0.5..0.5),
            seed: rng.random(),
        }
    }

    /// Signed distances to the outer and the inner rim.
    fn rims(&self, p: Vec2, mark: Option<&Mark>) -> (f32, f32) {
        let q = p - self.center;
        let r = q.length();
        let Some(mark) = mark else {
            return (r - self.outer, self.inner - r);
        };
        match mark.fault {
            Fault::Bend => {
                // A knock from outside: the rim gives way, the hole follows a little.
                let toward = mark.at - self.center;
                let toward = toward * (1.0 / toward.length().max(1e-6));
                let facing = (q.dot(toward) / r.max(1e-6)).clamp(-1.0, 1.0);
                let near = (-(1.0 - facing) / 0.035).exp();
                let give = mark.curve.signum() * mix(0.035, 0.06, mark.curve.abs()) * near;
                (r + give - self.outer, self.inner - r - 0.45 * give)
            }
            Fault::Chip => {
                let rough = 0.012 * (cloud(p * 40.0, 2, self.seed ^ 9) - 0.5);
                ((r - self.outer).max(-(mark.blob(p, 0.4) + rough)), self.inner - r)
            }
            _ => (r - self.outer, self.inner - r),
        }
    }
}

impl Scene for Washer {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let mat = 0.13 + 0.05 * (cloud(p * 60.0, 2, self.seed) - 0.5) + 0.03 * noise(p * 3.0, self.seed ^ 1);
        let (outer, inner) = self.rims(p + LIGHT * 0.02, mark);
        let shadow = ramp(0.025, -0.015, outer.max(inner));
        let mat = scaled([0.9, 1.0, 1.12], mat * (1.0 - 0.65 * shadow));

        let (outer, inner) = self.rims(p, mark);
        let d = outer.max(inner);
        let covered = cover(d, pixel);
        if covered == 0.0 {
            return mat;
        }
        let q = p - self.center;
        let r = q.length().max(1e-6);
        let angle = q.y.atan2(q.x);
        // Turning marks run round the hole, so that light is thrown back in two opposite fans.
        let fan = 0.5 + 0.5 * (2.0 * (angle - self.turn)).cos();
        let turning = noise(vec2(r * 190.0, 0.5), self.seed ^ 2) * 0.6
            + noise(vec2(r * 90.0, angle.cos() * 1.5), self.seed ^ 3) * 0.4;
        let mut bright = 0.42 + 0.3 * fan * fan + 0.13 * (turning - 0.5);
        // Bevels: the outer one faces away from the middle, the inner one toward it.
        let slope = q.dot(LIGHT) / r;
        bright += 0.26 * slope * ramp(-0.022, -0.004, outer);
        bright -= 0.26 * slope * ramp(-0.018, -0.004, inner);
        let mut metal = [bright, bright * 0.99, bright * 0.97];
        if let Some(mark) = mark {
            metal = match mark.fault {
                Fault::Rust => mark.rust(metal, p),
                Fault::Scratch => mark.scratch(metal, p, pixel, [0.55, 0.54, 0.53]),
                _ => metal,
            };
        }
        blend(mat, metal, covered)
    }

    fn place(&self, fault: Fault, rng: &mut dyn Rng) -> Mark {
        let r = if fault == Fault::Chip {
            self.outer
        } else {
            0.5 * (self.outer + self.inner)
        };
        let at = self.center + Vec2::unit(rng.random_range(0.0..TAU)) * r;
        Mark::new(fault, at, rng)
    }
}

/// A countersunk screw, turned any way, on a light plate.
#[derive(Debug)]
pub(super) struct Screw {
    center: Vec2,
    axis: Vec2,
    phase: f32,
    seed: u32,
}

/// Starts of the screw's parts along its axis; it is drawn around 0.
const HEAD: f32 = -0.36;
const NECK: f32 = -0.25;
const THREAD: f32 = -0.12;
const TAPER: f32 = 0.25;
const TIP: f32 = 0.37;

impl Screw {
    pub(super) const FAULTS: &[Fault] = &[Fault::Bend, Fault::Chip, Fault::Rust, Fault::Worn];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            center: vec2(
                0.5 + rng.random_range(-0.03..0.03),
                0.5 + rng.random_range(-0.03..0.03),
            ),
            axis: Vec2::unit(rng.random_range(0.0..TAU)),
            phase: rng.random_range(0.0..1.0),
            seed: rng.random(),
        }
    }

    /// Place in the screw's frame, straightened if it is bent.
    fn frame(&self, p: Vec2, mark: Option<&Mark>) -> Vec2 {
        let mut q = (p - self.center).along(self.axis);
        if let Some(mark) = mark.filter(|mark| mark.fault == Fault::Bend) {
            let beyond = (q.x - 0.06).max(0.0);
            q.y -= mark.curve.signum() * mix(0.75, 1.25, mark.curve.abs()) * beyond * beyond;
        }
        q
    }

    /// Signed distance to the outline, and how strongly the thread is cut there.
    fn outline(&self, p: Vec2, q: Vec2, mark: Option<&Mark>) -> (f32, f32) {
        let mut thread = ramp(THREAD - 0.01, THREAD + 0.02, q.x);
        let mut core = 0.05;
        if let Some(mark) = mark.filter(|mark| mark.fault == Fault::Worn) {
            let worn = ramp(0.085, 0.06, (q.x - mark.at.x).abs());
            thread *= 1.0 - worn;
            core -= 0.006 * worn;
        }
        let taper = 1.0 - ramp(TAPER, TIP + 0.03, q.x) * 0.9;
        let side = if q.y > 0.0 { 0.5 } else { 0.0 };
        let turn = ((q.x * 24.0 + self.phase + side).rem_euclid(1.0) * 2.0 - 1.0).abs();
        let shaft = (core + 0.024 * thread * (1.0 - turn)) * taper;
        let head = mix(0.135, 0.05, ramp(HEAD + 0.02, NECK + 0.03, q.x));
        let radius = if q.x < NECK {
            head
        } else {
            shaft.max(head * ramp(NECK + 0.04, NECK, q.x))
        };
        let ends = (HEAD - q.x).max(q.x - TIP);
        let mut d = (q.y.abs() - radius).max(ends);
        if let Some(mark) = mark.filter(|mark| mark.fault == Fault::Chip) {
            d = d.max(-mark.blob(p, 0.45));
        }
        (d, thread)
    }
}

impl Scene for Screw {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let plate = 0.72
            + 0.03 * (cloud(p * 50.0, 2, self.seed) - 0.5)
            + 0.05 * (noise(p * 2.0, self.seed ^ 1) - 0.5);
        let cast = p + LIGHT * 0.025;
        let (shade, _) = self.outline(cast, self.frame(cast, mark), mark);
        let plate = scaled(
            [1.0, 0.995, 0.98],
            plate * (1.0 - 0.4 * ramp(0.022, -0.02, shade)),
        );

        let q = self.frame(p, mark);
        let (d, thread) = self.outline(p, q, mark);
        let covered = cover(d, pixel);
        if covered == 0.0 {
            return plate;
        }
        let head = q.x < NECK + 0.02;
        let radius = if head {
            mix(0.135, 0.05, ramp(HEAD + 0.02, NECK + 0.03, q.x))
        } else {
            0.062
        };
        let across = (q.y / radius).clamp(-1.0, 1.0);
        // A cylinder: brightest where it faces the light, dark along its lower side.
        let up = (1.0 - across * across).max(0.0).sqrt();
        let toward = across * vec2(-self.axis.y, self.axis.x).dot(LIGHT);
        let mut bright = 0.2 + 0.28 * up + 0.3 * toward + 0.28 * (up * 0.8 + toward * 0.6).max(0.0).powi(8);
        // The helix climbs half a turn from one side to the other.
        let turn = (q.x * 24.0 + self.phase + 0.25 + 0.25 * across).rem_euclid(1.0);
        bright *= mix(1.0, 0.55 + 0.75 * (0.5 - 0.5 * (TAU * turn).cos()), thread);
        bright += 0.05 * (cloud(vec2(q.x * 40.0, q.y * 90.0), 2, self.seed ^ 2) - 0.5);
        if head {
            bright += 0.2 * ramp(0.02, 0.0, q.x - HEAD);
        }
        let mut metal = [bright * 1.02, bright, bright * 0.94];
        if let Some(mark) = mark.filter(|mark| mark.fault == Fault::Rust) {
            metal = mark.rust(metal, p);
        }
        blend(plate, metal, covered)
    }

    fn place(&self, fault: Fault, rng: &mut dyn Rng) -> Mark {
        let side = if rng.random::<bool>() { 1.0 } else { -1.0 };
        let at = match fault {
            Fault::Chip => vec2(HEAD + 0.01, side * rng.random_range(0.07..0.13)),
            Fault::Rust => vec2(rng.random_range(-0.3..0.2), 0.02 * side),
            _ => vec2(rng.random_range(-0.02..0.17), 0.0),
        };
        // Wear is a matter of the thread, so its place is kept in the screw's frame.
        let at = if fault == Fault::Worn {
            at
        } else {
            self.center + self.axis * at.x + vec2(-self.axis.y, self.axis.x) * at.y
        };
        Mark::new(fault, at, rng)
    }
}

/// A circuit board with a chip, resistors and a capacitor.
#[derive(Debug)]
pub(super) struct Board {
    shift: Vec2,
    axis: Vec2,
    seed: u32,
}

const RESISTORS: [Vec2; 4] = [vec2(0.2, 0.16), vec2(0.2, 0.32), vec2(0.8, 0.68), vec2(0.8, 0.84)];
const RESISTOR: Vec2 = vec2(0.082, 0.042);
const CAPACITOR: Vec2 = vec2(0.76, 0.24);
const CAPACITOR_RADIUS: f32 = 0.115;
const CHIP: Vec2 = vec2(0.38, 0.62);
const CHIP_HALF: Vec2 = vec2(0.2, 0.125);
/// Silkscreen.
const PRINT: Rgb = [0.78, 0.8, 0.76];
const PINS: u32 = 6;
const PIN_PITCH: f32 = 0.064;

fn pin(column: u32, bottom: bool) -> Vec2 {
    let x = CHIP.x + (column as f32 - 0.5 * (PINS - 1) as f32) * PIN_PITCH;
    let reach = CHIP_HALF.y + 0.035;
    vec2(x, if bottom { CHIP.y + reach } else { CHIP.y - reach })
}

impl Board {
    pub(super) const FAULTS: &[Fault] = &[Fault::Bridge, Fault::Missing, Fault::Scratch, Fault::Shifted];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            shift: vec2(rng.random_range(-0.015..0.015), rng.random_range(-0.015..0.015)),
            axis: Vec2::unit(rng.random_range(-0.025..0.025)),
            seed: rng.random(),
        }
    }

    fn traces(p: Vec2) -> f32 {
        let mut d = f32::INFINITY;
        for column in 0..PINS {
            let (top, bottom) = (pin(column, false), pin(column, true));
            let end = vec2(top.x + 0.1, top.y - 0.1);
            d = d
                .min(segment(p, top, end))
                .min(segment(p, end, vec2(end.x, -0.1)));
            d = d.min(segment(p, bottom, vec2(bottom.x, 1.1)));
        }
        for at in RESISTORS {
            let out = if at.x < 0.5 { -0.1 } else { 1.1 };
            d = d.min(segment(p, at, vec2(out, at.y)));
        }
        d = d.min(segment(p, vec2(0.72, 0.68), vec2(0.64, 0.76)));
        d = d.min(segment(p, vec2(0.64, 0.76), vec2(0.64, 1.1)));
        d - 0.007
    }
}

/// A place on the board and what is needed to paint there, layer over layer.
struct Brush<'a> {
    p: Vec2,
    pixel: f32,
    grain: f32,
    seed: u32,
    mark: Option<&'a Mark>,
    color: Rgb,
}

impl Brush<'_> {
    fn paint(&mut self, d: f32, color: Rgb) {
        self.color = blend(self.color, color, cover(d, self.pixel));
    }

    fn shade(&mut self, amount: f32) {
        self.color = scaled(self.color, 1.0 - amount);
    }

    fn tin(&mut self, d: f32, at: Vec2) {
        let lit = ((self.p - at).dot(LIGHT) / 0.04).clamp(-1.0, 1.0);
        let bright = 0.85 + 0.25 * lit + 0.12 * self.grain - 3.0 * d.max(-0.03);
        self.paint(d, scaled([0.7, 0.71, 0.72], bright));
    }

    fn fault(&self, fault: Fault) -> Option<&Mark> {
        self.mark.filter(|mark| mark.fault == fault)
    }

    /// Whether the part of this number is the one that is missing; the last one is the capacitor.
    fn is_missing(&self, index: usize) -> bool {
        self.fault(Fault::Missing)
            .is_some_and(|mark| mark.choice as usize % (RESISTORS.len() + 1) == index)
    }

    fn bare_board(&mut self) {
        let trace = Board::traces(self.p);
        self.paint(trace, scaled([0.1, 0.41, 0.22], 1.0 + 0.2 * self.grain));
        self.shade(0.2 * ramp(0.006, 0.0, (trace - 0.004).abs()));
        for at in RESISTORS {
            let line = rounded_box(self.p - at, RESISTOR + vec2(0.022, 0.022), 0.008).abs() - 0.0035;
            self.paint(line, PRINT);
        }
        let ring = ((self.p - CAPACITOR).length() - CAPACITOR_RADIUS - 0.018).abs() - 0.0035;
        self.paint(ring, PRINT);
        if let Some(mark) = self.fault(Fault::Scratch) {
            self.color = mark.scratch(self.color, self.p, self.pixel, [0.56, 0.44, 0.28]);
        }
    }

    fn resistor(&mut self, index: usize, at: Vec2) {
        if (self.p - at).length() > 0.16 {
            return;
        }
        for side in [-1.0, 1.0] {
            let pad = at + vec2(side * (RESISTOR.x - 0.012), 0.0);
            self.tin(
                rounded_box(self.p - pad, vec2(0.024, RESISTOR.y + 0.006), 0.006),
                pad,
            );
        }
        if self.is_missing(index) {
            return;
        }
        let mut q = self.p - at;
        if let Some(mark) = self.fault(Fault::Shifted)
            && mark.choice as usize % RESISTORS.len() == index
        {
            let sign = mark.curve.signum();
            q = (q - vec2(0.02 * sign, 0.025)).along(Vec2::unit(sign * mix(0.3, 0.6, mark.curve.abs())));
        }
        let shadow = rounded_box(q + LIGHT * 0.012, RESISTOR, 0.008);
        self.shade(0.45 * ramp(0.012, -0.008, shadow));
        let slope = q.y / RESISTOR.y;
        let ceramic = scaled([0.1, 0.1, 0.11], 1.0 + 0.4 * self.grain - 0.16 * slope);
        let cap = scaled([0.62, 0.62, 0.63], 1.0 + 0.1 * self.grain - 0.25 * slope);
        let body = blend(ceramic, cap, cover(RESISTOR.x - 0.024 - q.x.abs(), self.pixel));
        self.paint(rounded_box(q, RESISTOR, 0.008), body);
    }

    fn chip(&mut self) {
        let q = self.p - CHIP;
        if rounded_box(q, CHIP_HALF, 0.0) > 0.15 {
            return;
        }
        for bottom in [false, true] {
            for column in 0..PINS {
                let at = pin(column, bottom);
                self.tin(rounded_box(self.p - at, vec2(0.0175, 0.05), 0.006), at);
            }
        }
        self.bridge();
        let shadow = rounded_box(q + LIGHT * 0.015, CHIP_HALF, 0.012);
        self.shade(0.45 * ramp(0.012, -0.01, shadow));
        let body = rounded_box(q, CHIP_HALF, 0.012);
        if body > self.pixel {
            return;
        }
        let edge = 0.06 * ramp(-0.014, -0.008, body) * (-q.y / CHIP_HALF.y);
        let dot = cover((q - vec2(-0.155, 0.08)).length() - 0.016, self.pixel);
        let plastic = 0.115 + edge + 0.03 * (cloud(self.p * 90.0, 2, self.seed ^ 2) - 0.5) - 0.05 * dot;
        self.paint(body, [plastic, plastic, plastic * 1.04]);
        // Print that nobody has to read: the same bars on every board.
        for row in 0..3_u8 {
            let code = (0xB6D5_u32 >> (5 * row)) & 0x1F;
            let slot = ((q.x + 0.11) / 0.044).floor();
            if (0.0..5.0).contains(&slot) && code >> (slot as u32) & 1 == 1 {
                let bar = vec2(
                    q.x + 0.11 - (slot + 0.5) * 0.044,
                    q.y + 0.045 - 0.04 * f32::from(row),
                );
                self.paint(rounded_box(bar, vec2(0.016, 0.008), 0.003), [0.5, 0.5, 0.48]);
            }
        }
    }

    /// Solder that joins two or three pins.
    fn bridge(&mut self) {
        let Some(mark) = self.fault(Fault::Bridge) else {
            return;
        };
        let (from, bottom) = (mark.choice / 2 % (PINS - 2), mark.choice.is_multiple_of(2));
        let reach = vec2(0.0, if bottom { 0.012 } else { -0.012 });
        let a = pin(from, bottom) + reach;
        let b = pin(from + 1 + mark.choice / 64 % 2, bottom) + reach;
        let d = segment(self.p, a, b) - 0.028 - 0.02 * (noise(self.p * 18.0, self.seed ^ 4) - 0.5);
        let dome = (-d / 0.028).clamp(0.0, 1.0);
        let side = (self.p - a).y / 0.03;
        let shine = 0.55 + 0.3 * dome - 0.2 * side + 0.35 * ramp(0.6, 0.95, dome - 0.3 * (side + 0.5).abs());
        self.paint(d, scaled([0.8, 0.81, 0.83], shine));
    }

    fn capacitor(&mut self) {
        let q = self.p - CAPACITOR;
        let r = q.length();
        if r > CAPACITOR_RADIUS + 0.07 {
            return;
        }
        if self.is_missing(RESISTORS.len()) {
            for side in [-1.0, 1.0] {
                let at = CAPACITOR + vec2(0.045 * side, 0.0);
                let d = (self.p - at).length() - 0.026;
                self.tin(d, at);
                self.paint(d + 0.016, [0.05, 0.05, 0.05]);
            }
            return;
        }
        let shadow = (q + LIGHT * 0.03).length() - CAPACITOR_RADIUS;
        self.shade(0.5 * ramp(0.025, -0.015, shadow));
        let lit = q.dot(LIGHT) / CAPACITOR_RADIUS;
        let mut bright = 0.6 + 0.12 * lit + 0.06 * (noise(vec2(r * 160.0, 0.5), self.seed ^ 6) - 0.5);
        bright += 0.2 * lit * ramp(-0.02, -0.006, r - CAPACITOR_RADIUS);
        // The can is scored crosswise, so that it bursts there, and its minus side is printed.
        bright *= 1.0 - 0.35 * ramp(0.006, 0.0, q.x.abs().min(q.y.abs())) * ramp(0.08, 0.07, r);
        let can = [bright, bright, bright * 1.02];
        let can = blend(
            can,
            [0.12, 0.12, 0.16],
            cover(CAPACITOR_RADIUS * 0.6 - q.x, self.pixel),
        );
        self.paint(r - CAPACITOR_RADIUS, can);
    }
}

impl Scene for Board {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let p = (p - vec2(0.5, 0.5)).along(self.axis) + vec2(0.5, 0.5) + self.shift;
        let grain = cloud(p * 70.0, 2, self.seed) - 0.5;
        let color = scaled([0.06, 0.3, 0.17], 1.0 + 0.22 * grain);
        let mut brush = Brush {
            p,
            pixel,
            grain,
            seed: self.seed,
            mark,
            color,
        };
        brush.bare_board();
        for (index, at) in RESISTORS.into_iter().enumerate() {
            brush.resistor(index, at);
        }
        brush.chip();
        brush.capacitor();
        brush.color
    }

    fn place(&self, fault: Fault, rng: &mut dyn Rng) -> Mark {
        // Scratches run over bare board, elsewhere parts would hide them.
        let places = [
            vec2(0.45, 0.3),
            vec2(0.77, 0.5),
            vec2(0.5, 0.2),
            vec2(0.3, 0.42),
            vec2(0.55, 0.9),
        ];
        let at = places[rng.random_range(0..places.len())];
        Mark::new(fault, at, rng)
    }
}
