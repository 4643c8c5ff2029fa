// Weak and strong views of one image, by the recipes of kdnb.images.augment and the draws of kdnb.images.counter: the same seed, epoch and
// image give the view that networks of a study are judged on. Pixels are uint8, 3 × side × side. A test compares the two.

// -- draws ------------------------------------------------------------------------------------------------------------

// The high and the low word of a product of two 32-bit words.
function product(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16), low = a0 * b1 + (middle % 65536);
  return [(a1 * b1 + Math.floor(middle / 65536) + Math.floor(low / 65536)) >>> 0, Math.imul(a, b) >>> 0];
}

// Philox4x32-10 (Salmon et al. 2011).
export function philox([c0, c1, c2, c3], [k0, k1]) {
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = product(0xd2511f53, c0), [high1, low1] = product(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const VIEW = 2;

// Uniform draws in [0, 1) of the students' stream, for a view that a finished network is measured on.
export function uniforms(seed, epoch, index, count) {
  const found = [];
  for (let block = 0; found.length < count; block++) found.push(...philox([block, index, epoch, VIEW], [seed, 0]));
  return found.slice(0, count).map((word) => word / 2 ** 32);
}

// -- pieces -----------------------------------------------------------------------------------------------------------

const ATTEMPTS = 10;

// To the nearest whole number, a half to the even one, as NumPy and torch round.
function rint(value) {
  const low = Math.floor(value), part = value - low;
  return part > 0.5 || (part === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

const single = Math.fround;  // torch blends in single precision, which decides what is cut off

const level = (value) => Math.trunc(Math.min(255, Math.max(0, single(value))));

// value · factor + other · (1 − factor)
const blend = (value, other, factor) => level(single(value * single(factor)) + single(single(other) * single(1 - factor)));

function cropBox(u, side, scale, ratio) {
  let [width, height] = [side, side];
  for (let i = 0; i < ATTEMPTS; i++) {
    const area = side * side * (scale + (1 - scale) * u[2 * i]), form = Math.exp((2 * u[2 * i + 1] - 1) * Math.log(ratio));
    const [w, h] = [rint(Math.sqrt(area * form)), rint(Math.sqrt(area / form))];
    if (w > 0 && w <= side && h > 0 && h <= side) { [width, height] = [w, h]; break; }
  }
  return { top: Math.floor(u[20] * (side - height + 1)), left: Math.floor(u[21] * (side - width + 1)), width, height };
}

// How much each pixel of a row adds to each of `size` pixels of its part: the antialiased bicubic filter, a = −0.5, as Pillow has it.
function filter(start, length, size) {
  const scale = length / size, stretch = Math.max(1, scale);
  return Array.from({ length: size }, (_, to) => {
    const centre = (to + 0.5) * scale, weights = [];
    for (let pixel = 0; pixel < length; pixel++) {
      const d = Math.abs((pixel + 0.5 - centre) / stretch);
      if (d < 2) weights.push([start + pixel, d < 1 ? (1.5 * d - 2.5) * d * d + 1 : ((-0.5 * d + 2.5) * d - 4) * d + 2]);
    }
    const sum = weights.reduce((total, [, weight]) => total + weight, 0);
    return weights.map(([pixel, weight]) => [pixel, weight / sum]);
  });
}

// A box of an image (width × height pixels a channel) brought to size × size.
export function resized(pixels, width, height, box, size) {
  const across = filter(box.left, box.width, size), down = filter(box.top, box.height, size);
  const channels = pixels.length / (width * height), rows = new Float64Array(channels * height * size), made = new Uint8Array(channels * size * size);
  const round = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));
  for (let c = 0; c < channels; c++) {
    for (let y = box.top; y < box.top + box.height; y++) {
      across.forEach((weights, x) => {
        let sum = 0;
        for (const [pixel, weight] of weights) sum += weight * pixels[(c * height + y) * width + pixel];
        rows[(c * height + y) * size + x] = round(sum);
      });
    }
    down.forEach((weights, y) => {
      for (let x = 0; x < size; x++) {
        let sum = 0;
        for (const [pixel, weight] of weights) sum += weight * rows[(c * height + pixel) * size + x];
        made[(c * size + y) * size + x] = round(sum);
      }
    });
  }
  return made;
}

// Each pixel from where the matrix [[a, b], [c, d]] takes its centre to, seen from `centre`, moved by `shift`: the nearest pixel there.
function moved(pixels, side, [a, b, c, d], centre, [right, down], fill) {
  const places = side * side, made = new Uint8Array(3 * places).fill(fill);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const dx = x + 0.5 - centre, dy = y + 0.5 - centre;
      const column = rint(a * dx + b * dy + centre - 0.5 - right), row = rint(c * dx + d * dy + centre - 0.5 - down);
      if (column < 0 || column >= side || row < 0 || row >= side) continue;
      for (let k = 0; k < 3; k++) made[k * places + y * side + x] = pixels[k * places + row * side + column];
    }
  }
  return made;
}

function turned(pixels, side, degrees, fill) {
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
  return moved(pixels, side, [cos, -sin, sin, cos], side / 2, [0, 0], fill);
}

function grey(pixels) {
  const places = pixels.length / 3;
  return Array.from({ length: places }, (_, i) =>
    Math.floor(single(single(single(single(0.2989) * pixels[i]) + single(0.587) * pixels[places + i]) + single(0.114) * pixels[2 * places + i])));
}

const eachChannel = (pixels, change) => {
  const places = pixels.length / 3, made = new Uint8Array(pixels.length);
  for (let c = 0; c < 3; c++) made.set(change(pixels.subarray(c * places, (c + 1) * places)), c * places);
  return made;
};

function sharpened(channel, side, factor) {
  return channel.map((value, i) => {
    const x = i % side, y = Math.floor(i / side);
    if (x === 0 || y === 0 || x === side - 1 || y === side - 1) return value;
    let sum = 4 * value;
    for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) sum += channel[i + dy * side + dx];
    return level(value + single((rint(sum / 13) - value) * single(1 - factor)));
  });
}

function equalised(channel) {
  const counts = new Array(256).fill(0);
  for (const value of channel) counts[value] += 1;
  const last = counts.findLastIndex((count) => count > 0), step = Math.floor((channel.length - counts[last]) / 255);
  if (step === 0) return channel;
  let before = 0;
  const table = counts.map((count) => {
    const value = Math.min(255, Math.floor((before + Math.floor(step / 2)) / step));
    before += count;
    return value;
  });
  return channel.map((value) => table[value]);
}

function stretched(channel) {
  let low = 255, high = 0;
  for (const value of channel) { low = Math.min(low, value); high = Math.max(high, value); }
  return low === high ? channel : channel.map((value) => level((value - low) / single((high - low) * single(1 / 255))));
}

const FILL = 128;

// AutoAugment's operations, as torchvision has them: (pixels, side, magnitude) → pixels.
const OPERATIONS = {
  ShearX: (p, side, m) => moved(p, side, [1, m, 0, 1], 0, [0, 0], FILL),
  ShearY: (p, side, m) => moved(p, side, [1, 0, m, 1], 0, [0, 0], FILL),
  TranslateX: (p, side, m) => moved(p, side, [1, 0, 0, 1], 0, [Math.trunc(m), 0], FILL),
  TranslateY: (p, side, m) => moved(p, side, [1, 0, 0, 1], 0, [0, Math.trunc(m)], FILL),
  Rotate: (p, side, m) => turned(p, side, m, FILL),
  Brightness: (p, side, m) => p.map((value) => level(value * single(1 + m))),
  Color: (p, side, m) => { const of = grey(p); return p.map((value, i) => blend(value, of[i % of.length], 1 + m)); },
  Contrast: (p, side, m) => {
    const of = grey(p), mean = of.reduce((sum, value) => sum + value, 0) / of.length;
    return p.map((value) => blend(value, mean, 1 + m));
  },
  Sharpness: (p, side, m) => eachChannel(p, (channel) => sharpened(channel, side, 1 + m)),
  Posterize: (p, side, m) => p.map((value) => value & (256 - 2 ** (8 - Math.trunc(m)))),
  Solarize: (p, side, m) => p.map((value) => (value >= m ? 255 - value : value)),
  AutoContrast: (p) => eachChannel(p, stretched),
  Equalize: (p) => eachChannel(p, equalised),
  Invert: (p) => p.map((value) => 255 - value),
};

// -- recipes ----------------------------------------------------------------------------------------------------------

const round = (value, digits = 0) => value.toFixed(digits).replace("-", "−");

// A view and, in words, what was done. `recipe` has crop_scale, crop_ratio, flip, rotation, policy, hole; `policies` and `magnitudes` are
// AutoAugment's; which view it is, `epoch`: 0 is the one that networks are judged on.
export function view(pixels, side, recipe, { policies, magnitudes }, seed, epoch, index) {
  const u = uniforms(seed, epoch, index, 32), done = [];
  if (recipe.crop_scale < 1) {
    const box = cropBox(u, side, recipe.crop_scale, recipe.crop_ratio);
    pixels = resized(pixels, side, side, box, side);
    done.push(`crop of ${box.width} × ${box.height} pixels`);
  }
  if (u[22] < recipe.flip) {
    pixels = pixels.map((_, i) => pixels[i - (i % side) + side - 1 - (i % side)]);
    done.push("flip");
  }
  if (recipe.rotation) {
    const angle = (2 * u[23] - 1) * recipe.rotation;
    pixels = turned(pixels, side, angle, 0);
    done.push(`rotation by ${round(angle)}°`);
  }
  if (recipe.policy) {
    policies[Math.floor(u[24] * policies.length)].forEach(([name, probability, bin], stage) => {
      if (u[25 + stage] >= probability) return;
      const [values, signed] = magnitudes[name];
      let magnitude = Array.isArray(values) && bin !== null ? values[bin] : 0;
      if (signed && u[27 + stage] < 0.5) magnitude = -magnitude;
      pixels = OPERATIONS[name](pixels, side, magnitude);
      done.push(Array.isArray(values) && bin !== null ? `${name} ${round(magnitude, Math.abs(magnitude) < 5 ? 2 : 0)}` : name);
    });
  }
  if (recipe.hole) {
    const length = rint(recipe.hole * side), [top, left] = [u[29], u[30]].map((at) => Math.floor(at * side) - Math.floor(length / 2));
    pixels = pixels.map((value, i) => {
      const x = i % side, y = Math.floor(i / side) % side;
      return y >= top && y < top + length && x >= left && x < left + length ? 0 : value;
    });
    done.push(`a black square of ${length} × ${length} pixels`);
  }
  return { pixels, done };
}
