// Digits of a TarFlow: each block takes its latents token by token, and hands its caches on.

// The `offsets` tokens before token `t`, side by side for each image; where there is none, zeros.
function before(tokens, t, offsets, count, width) {
  const found = new Float32Array(count * offsets.length * width);
  offsets.forEach((offset, place) => {
    if (offset > t) return;
    for (let image = 0; image < count; image++) {
      const token = tokens[t - offset].subarray(image * width, (image + 1) * width);
      found.set(token, (image * offsets.length + place) * width);
    }
  });
  return found;
}

// Images of `count` digits: from the last block to the first, token by token in the block's order.
export async function drawDigits(model, label, count, temperature, { step, tensor, normal }) {
  const { size, tokens, width, blocks } = model;
  const labels = tensor(new BigInt64Array(count).fill(BigInt(label)), [count]);
  let latents = Array.from({ length: tokens }, () => normal(count, 1, width).data.map((value) => value * temperature));
  for (let index = blocks.length - 1; index >= 0; index--) {
    const { offsets, reverse, layers, heads, channels } = blocks[index];
    let kept = tensor(new Float32Array(0), [layers, 2, count, heads, 0, channels]);
    const found = [];
    if (reverse) latents.reverse();
    for (let t = 0; t < tokens; t++) {
      const made = await step(`block_${index}`, {
        z: tensor(latents[t], [count, 1, width]),
        before: tensor(before(found, t, offsets, count, width), [count, 1, offsets.length * width]),
        label: labels,
        cache: kept,
      });
      found.push(made.x.data);
      kept = made.kept;
    }
    latents = reverse ? found.reverse() : found;
  }
  const all = new Float32Array(count * tokens * width);
  latents.forEach((token, t) => {
    for (let image = 0; image < count; image++) all.set(token.subarray(image * width, (image + 1) * width), (image * tokens + t) * width);
  });
  const { image } = await step("pixels", { tokens: tensor(all, [count, tokens, width]) });
  const area = size[0] * size[1];
  return Array.from({ length: count }, (_, index) => grey(image.data.subarray(index * area, (index + 1) * area), size));
}

function grey(values, [height, width]) {
  const image = new ImageData(width, height);
  for (let i = 0; i < 4 * values.length; i++) image.data[i] = i % 4 === 3 ? 255 : values[i >> 2];
  return image;
}
