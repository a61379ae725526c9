// CIE Lab (D65) of sRGB, and colours drawn small put under a photo's own lightness.

const WHITE = [0.95047, 1, 1.08883];
const TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]];
const TO_RGB = [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]];
const EDGE = 6 / 29;
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const encoded = (v) => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);
const cube = (t) => (t > EDGE ? t ** 3 : 3 * EDGE ** 2 * (t - 4 / 29));
const root = (t) => (t > EDGE ** 3 ? Math.cbrt(t) : t / (3 * EDGE ** 2) + 4 / 29);
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, value, i) => sum + value * vector[i], 0));

// L of Lab of each pixel, 0 … 100.
function lightness({ data }) {
  const powers = Array.from({ length: 256 }, (_, value) => linear(value / 255));
  return Float32Array.from({ length: data.length / 4 }, (_, i) => {
    const luminance = TO_XYZ[1][0] * powers[data[4 * i]] + TO_XYZ[1][1] * powers[data[4 * i + 1]] + TO_XYZ[1][2] * powers[data[4 * i + 2]];
    return 116 * root(luminance) - 16;
  });
}

function toRgb(l, a, b) {
  const y = (l + 16) / 116;
  const xyz = [y + a / 500, y, y - b / 200].map((t, i) => WHITE[i] * cube(t));
  return times(TO_RGB, xyz).map((v) => Math.round(255 * encoded(Math.min(1, Math.max(0, v)))));
}

// What the model is given: lightness at `side`, no hints, and of some models lightness at twice that, space to depth.
function condition(small, side, channels) {
  const given = new Float32Array(channels * side * side);
  const light = lightness(small);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = y * side + x;
      if (channels === 4) given[at] = light[at];
      for (let part = 0; part < channels - 4; part++) {
        const value = light[(2 * y + (part >> 1)) * 2 * side + 2 * x + (part % 2)];
        given[(4 + part) * side * side + at] = value;
        given[at] += value / 4;
      }
    }
  }
  return given;
}

// Bilinear between the centres of a plane's cells, of `side` a row, at (x, y) in 0 … 1.
function sample(plane, side, x, y) {
  const [u, v] = [x, y].map((t) => Math.min(side - 1, Math.max(0, t * side - 0.5)));
  const [left, top] = [u, v].map((t) => Math.min(side - 2, Math.floor(t)));
  const row = (r) => plane[r * side + left] * (left + 1 - u) + plane[r * side + left + 1] * (u - left);
  return row(top) * (top + 1 - v) + row(top + 1) * (v - top);
}

// Shows `count` variants of a photo, one after the other. `draw` gives planes a + 128 and b + 128 of a condition.
export async function color(photo, small, side, channels, draw, count, show) {
  const given = condition(small, side, channels);
  const light = lightness(photo);
  for (let variant = 0; variant < count; variant++) {
    const { data, dims } = await draw(given);
    const cells = dims[3];
    const planes = [0, 1].map((i) => Float32Array.from(data.subarray(i * cells * cells, (i + 1) * cells * cells), (v) => Math.floor(v) - 128));
    const image = new ImageData(photo.width, photo.height);
    for (let i = 0; i < light.length; i++) {
      const place = [((i % photo.width) + 0.5) / photo.width, (Math.floor(i / photo.width) + 0.5) / photo.height];
      image.data.set([...toRgb(light[i], ...planes.map((plane) => sample(plane, cells, ...place))), 255], 4 * i);
    }
    await show(image, variant);
  }
}
