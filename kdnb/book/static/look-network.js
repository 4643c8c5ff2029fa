// A published network in plain JavaScript: reads its weights, folds its batch norms, answers for an image.
//
// It runs the residual networks of kdnb.training.models that have a 3×3 stem and basic blocks (resnet8-w*, resnet20, resnet56), from the
// file that `kdnb export --form browser` writes: safetensors, names `<run>/<state's name>`, strides in its metadata.
// A test in Chromium compares its logits with PyTorch's.

// IEEE 754 half precision, 16 bits as an integer, to a number: all there are, since a table is faster than arithmetic.
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
});

// The tensors of a safetensors file, { name: { shape, values: Float32Array } }, and its metadata.
export function readTensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { __metadata__: metadata = {}, ...entries } = header, tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    const bytes = buffer.slice(8 + length + from, 8 + length + to);
    if (dtype === "F16") tensors[name] = { shape, values: new Float32Array(new Uint16Array(bytes)).map((bits) => HALVES[bits]) };
    else if (dtype === "F32") tensors[name] = { shape, values: new Float32Array(bytes) };
    else throw new Error(`${name} is ${dtype}; expected F16 or F32`);
  }
  return { tensors, metadata };
}

const TILE = 4;

// A convolution whose batch norm is folded into its weights, which lie as the inner loop reads them:
// for every four output channels, for every input value of a patch, four weights.
function convolution(get, name, stride) {
  const { shape: [outputs, inputs, size], values } = get(`${name}.0.weight`);
  const [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map((each) => get(`${name}.1.${each}`).values);
  const depth = inputs * size * size, groups = Math.ceil(outputs / TILE);
  const packed = new Float64Array(groups * depth * TILE), bias = new Float64Array(groups * TILE);
  for (let out = 0; out < outputs; out++) {
    const factor = scale[out] / Math.sqrt(variance[out] + 1e-5), group = Math.floor(out / TILE);
    bias[out] = shift[out] - mean[out] * factor;
    for (let k = 0; k < depth; k++) packed[(group * depth + k) * TILE + (out % TILE)] = values[out * depth + k] * factor;
  }
  return { inputs, outputs, size, stride, depth, packed, bias };
}

// Applies a convolution to a map { channels, side, values }, zeros around it: patches side by side, then one product.
function convolve(layer, map, relu, added) {
  const { inputs, outputs, size, stride, depth, packed, bias } = layer, edge = size >> 1, from = map.side;
  const side = Math.floor((from - 1) / stride) + 1, places = side * side, source = map.values;
  const patches = new Float64Array((places + 1) * depth);  // one more, so that places go two by two
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      for (let channel = 0; channel < inputs; channel++) {
        for (let dy = 0; dy < size; dy++) {
          const row = y * stride + dy - edge, start = (channel * from + row) * from + x * stride - edge;
          for (let dx = 0; dx < size; dx++, at++) {
            const column = x * stride + dx - edge;
            if (row >= 0 && row < from && column >= 0 && column < from) patches[at] = source[start + dx];
          }
        }
      }
    }
  }
  const values = new Float64Array(outputs * places);
  for (let group = 0; group * TILE < outputs; group++) {
    const first = group * TILE, weights = group * depth * TILE;
    for (let place = 0; place < places; place += 2) {
      const end = (place + 1) * depth;
      let a0 = bias[first], a1 = bias[first + 1], a2 = bias[first + 2], a3 = bias[first + 3], b0 = a0, b1 = a1, b2 = a2, b3 = a3;
      for (let one = place * depth, w = weights; one < end; one++, w += TILE) {
        const a = patches[one], b = patches[one + depth];
        const w0 = packed[w], w1 = packed[w + 1], w2 = packed[w + 2], w3 = packed[w + 3];
        a0 += a * w0; a1 += a * w1; a2 += a * w2; a3 += a * w3;
        b0 += b * w0; b1 += b * w1; b2 += b * w2; b3 += b * w3;
      }
      const at = first * places + place;
      values[at] = a0; values[at + places] = a1; values[at + 2 * places] = a2; values[at + 3 * places] = a3;
      if (place + 1 < places) {
        values[at + 1] = b0; values[at + places + 1] = b1; values[at + 2 * places + 1] = b2; values[at + 3 * places + 1] = b3;
      }
    }
  }
  if (added) for (let i = 0; i < values.length; i++) values[i] += added[i];
  if (relu) for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0;
  return { channels: outputs, side, values };
}

// The network `run` of a file's tensors. `strides` are those of the stem and of each block.
export function network(tensors, run, strides) {
  const get = (name) => {
    const found = tensors[`${run}/${name}`];
    if (!found) throw new Error(`${run} has no ${name}; it is not a network that this page can run`);
    return found;
  };
  const stem = convolution(get, "features.0", strides[0]);
  const blocks = strides.slice(1).map((stride, i) => {
    const name = `features.${i + 2}`, projected = `${run}/${name}.shortcut.project.0.weight` in tensors;
    return {
      first: convolution(get, `${name}.first`, stride),
      second: convolution(get, `${name}.second`, 1),
      shortcut: projected ? convolution(get, `${name}.shortcut.project`, stride) : null,
    };
  });
  const weight = get("classifier.weight"), bias = get("classifier.bias").values, [classes, depth] = weight.shape;

  // The last feature map of a normalised image, 3 × side × side.
  function features(values, side) {
    let map = convolve(stem, { channels: 3, side, values }, true);
    for (const { first, second, shortcut } of blocks) {
      const passed = shortcut ? convolve(shortcut, map, false) : map;
      map = convolve(second, convolve(first, map, true), true, passed.values);
    }
    return map;
  }

  function logitsOf(map) {
    const places = map.side * map.side, pooled = new Float64Array(depth), logits = new Float64Array(classes);
    for (let d = 0; d < depth; d++) {
      for (let i = 0; i < places; i++) pooled[d] += map.values[d * places + i];
      pooled[d] /= places;
    }
    for (let k = 0; k < classes; k++) {
      logits[k] = bias[k];
      for (let d = 0; d < depth; d++) logits[k] += weight.values[k * depth + d] * pooled[d];
    }
    return logits;
  }

  // The class activation map, as rows (kdnb.training.maps.cam). `of` is a class, or null for the sum over all, as released.
  function cam(map, of) {
    const places = map.side * map.side, along = new Float64Array(depth), found = new Float64Array(places);
    let constant = 0;
    for (let k = of ?? 0; k < (of === null ? classes : of + 1); k++) {
      constant += bias[k];
      for (let d = 0; d < depth; d++) along[d] += weight.values[k * depth + d];
    }
    found.fill(constant);
    for (let d = 0; d < depth; d++) for (let i = 0; i < places; i++) found[i] += along[d] * map.values[d * places + i];
    return Array.from({ length: map.side }, (_, row) => Array.from(found.subarray(row * map.side, (row + 1) * map.side)));
  }

  return { run, classes, features, logitsOf, cam, answer: (values, side) => logitsOf(features(values, side)) };
}

export function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

// uint8 pixels, 3 × side × side, as networks take them: (pixel / 255 − mean) / std.
export function normalised(pixels, mean, std) {
  const places = pixels.length / 3, values = new Float64Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) values[i] = (pixels[i] / 255 - mean[Math.floor(i / places)]) / std[Math.floor(i / places)];
  return values;
}
