// Draws with models that `vflow export` wrote beside this page: no server, one thread of WebAssembly.
import * as ort from "./runtime/ort.wasm.bundle.min.mjs";
import { color } from "./color.js";
import { drawDigits } from "./digits.js";

const LARGEST = 1024; // side of a photo to colour, in pixels
const LARGEST_TO_DOUBLE = 256;
const VARIANTS = 4;
ort.env.wasm.numThreads = 1; // more need headers that a plain folder has not
ort.env.wasm.wasmPaths = { wasm: new URL("./runtime/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

const models = await (await fetch("models.json")).json();
const sessions = new Map();

// Loaded at its first use, and kept.
function session(family, graph) {
  const file = `${family}-${graph}.onnx`;
  if (!sessions.has(file)) sessions.set(file, ort.InferenceSession.create(file));
  return sessions.get(file);
}

// Standard-normal numbers (Box and Muller 1958).
function normal(...dims) {
  const count = dims.reduce((a, b) => a * b, 1);
  const draw = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return tensor(Float32Array.from({ length: count }, draw), dims);
}

const tensor = (data, dims) => new ort.Tensor(data, dims);
const temperatures = (given, levels) => tensor(Float32Array.from([given].flat().length > 1 ? given : Array(levels).fill([given].flat()[0])), [levels]);
const nextFrame = () => new Promise(requestAnimationFrame); // lets the page show what is there

// Pixels of a file's picture, its longer side reduced to `largest`.
async function pixels(file, largest) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name}: not a picture that this browser reads`);
  });
  const scale = Math.min(1, largest / Math.max(picture.width, picture.height));
  return resized(picture, Math.max(1, Math.round(picture.width * scale)), Math.max(1, Math.round(picture.height * scale)));
}

function resized(picture, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // under what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function show(results, image, name) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  results.append(canvas);
}

async function digits(form, results) {
  const label = Number(form.label.value);
  const step = (block, feeds) => session("digits", block).then((s) => s.run(feeds));
  for (const count of [1, 7]) { // the first is seen sooner than eight would be
    const images = await drawDigits(models.digits, label, count, Number(form.temperature.value), { step, tensor, normal });
    for (const image of images) show(results, image, `digit ${label}, ${results.childElementCount + 1}`);
    await nextFrame();
  }
}

async function colours(form, results) {
  const photo = await pixels(form.photo.files[0], LARGEST);
  const { side, channels, noise, temperature } = models.colorizer;
  const bitmap = await createImageBitmap(photo);
  const small = channels > 4 ? resized(bitmap, 2 * side, 2 * side) : resized(bitmap, side, side);
  const net = await session("colorizer", "colors");
  await color(photo, small, side, channels, async (given) => {
    const feeds = { lightness: tensor(given, [1, channels, side, side]), temperature: temperatures(temperature, noise.length) };
    noise.forEach((shape, level) => { feeds[`eps_${level}`] = normal(1, ...shape); });
    return (await net.run(feeds)).planes;
  }, VARIANTS, async (image, index) => { show(results, image, `colours, ${index + 1}`); await nextFrame(); });
}

async function enlarge(form, results) {
  const photo = await pixels(form.photo.files[0], LARGEST_TO_DOUBLE);
  const { width, height, data } = photo;
  const planes = Uint8Array.from({ length: 3 * width * height }, (_, i) => data[4 * (i % (width * height)) + Math.floor(i / (width * height))]);
  const net = await session("super_resolution", "enlarge");
  const feeds = { photo: tensor(planes, [1, 3, height, width]), temperature: temperatures(models.super_resolution.temperature, 1), eps_0: normal(1, 9, height, width) };
  const larger = (await net.run(feeds)).larger.data;
  const image = new ImageData(2 * width, 2 * height);
  const area = 4 * width * height;
  for (let i = 0; i < 4 * area; i++) image.data[i] = i % 4 === 3 ? 255 : Math.floor(larger[(i % 4) * area + (i >> 2)]);
  show(results, image, "photo of twice the size");
}

// A form runs one job at a time, and says how long it took, or what was wrong.
function wire(family, job) {
  const section = document.getElementById(family);
  const [form, status, results] = ["form", "[role=status]", ".results"].map((part) => section.querySelector(part));
  section.hidden = !(family in models);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    status.className = "";
    status.textContent = "Computing…";
    results.replaceChildren();
    await nextFrame();
    const begun = performance.now();
    try {
      await job(form.elements, results);
      status.textContent = `Done in ${((performance.now() - begun) / 1000).toFixed(1)} s.`;
    } catch (error) {
      status.className = "error";
      status.textContent = error.message;
    }
    button.disabled = false;
  });
}

if (models.digits) {
  const { elements } = document.querySelector("#digits form");
  for (let label = 0; label < models.digits.classes; label++) elements.label.append(new Option(label, label));
  elements.temperature.value = [models.digits.temperature].flat()[0];
}
wire("digits", digits);
wire("colorizer", colours);
wire("super_resolution", enlarge);
