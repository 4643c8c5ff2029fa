// Look for yourself: trained networks run on a picture, and a reader asks them. `mount` puts the controls into a page; a notebook's widget
// is the same (`render`). What is drawn is built of the pieces of explorers.js; arithmetic of networks and views is beside this file.
import { network, normalised, readTensors, softmax } from "./look-network.js";
import { philox, resized, view } from "./look-views.js";

// -- arithmetic that kdnb has too ---------------------------------------------------------------------------------------

// The places of a heat, the hottest first; of equal ones the first: kdnb.evidence.deletion.falling.
export const falling = (heat) => Array.from(heat.keys()).sort((a, b) => heat[b] - heat[a] || a - b);

// Stream.permutation of kdnb.images.counter: the order of `size` places, by a seed and a number.
export function permutation(size, seed, number) {
  const keys = Array.from({ length: size }, (_, i) => {
    const [first, second] = philox([0, i, number, 0], [seed, 0]);
    return first / 2 ** 32 + second / 2 ** 64;
  });
  return Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b] || a - b);
}

// What a picture is without some of its places: normalised values, 0 where they are erased.
const without = (values, erased) => values.map((value, i) => (erased[i % erased.length] ? 0 : value));

// The probability of a class as places are erased in an order, step by step: kdnb.evidence.deletion.curve. A generator, so that a page
// stays alive.
export function* curve(net, values, side, of, order, steps) {
  const erased = new Uint8Array(order.length);
  for (let step = 0, at = 0; step <= steps; step++) {
    for (; at < Math.round((order.length * step) / steps); at++) erased[order[at]] = 1;
    yield softmax(net.answer(without(values, erased), side))[of];
  }
}

// How much a class's logit falls where a square is covered, as rows: kdnb.evidence.deletion.occlusion.
export function occlusion(net, values, side, of, patch) {
  const whole = net.answer(values, side)[of], count = side / patch;
  return Array.from({ length: count }, (_, row) => Array.from({ length: count }, (_, column) => {
    const covered = Uint8Array.from({ length: side * side }, (_, i) =>
      Math.floor(i / side / patch) === row && Math.floor((i % side) / patch) === column);
    return whole - net.answer(without(values, covered), side)[of];
  }));
}

// -- pictures -------------------------------------------------------------------------------------------------------------

const LARGEST = 1024;

// Pixels of a canvas's context, 3 × side × side; what is transparent lies on white.
function pixelsOf(image, width, height, size) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  const from = Math.min(image.width, image.height);
  context.drawImage(image, (image.width - from) / 2, (image.height - from) / 2, from, from, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height), places = width * height;
  const planes = Uint8Array.from({ length: 3 * places }, (_, i) => data[4 * (i % places) + Math.floor(i / places)]);
  return width === size ? planes : resized(planes, width, height, { left: 0, top: 0, width, height }, size);
}

// A file's picture, turned as its EXIF says, its middle square, at the networks' side.
export async function pictureOf(file, side) {
  let image;
  try {
    image = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "that"} is not a picture that this browser reads; choose a PNG or JPEG`);
  }
  const edge = Math.max(side, Math.min(LARGEST, image.width, image.height));
  return pixelsOf(image, edge, edge, side);
}

const decoded = (uri) => new Promise((resolve, reject) => {
  const image = new Image();
  image.onload = () => resolve(image);
  image.onerror = () => reject(new Error("a picture of this page cannot be read"));
  image.src = uri;
});

function blurred(pixels, side, reach) {
  return pixels.map((_, i) => {
    const x = i % side, y = Math.floor(i / side) % side, plane = i - (i % (side * side));
    let sum = 0, count = 0;
    for (let v = Math.max(0, y - reach); v <= Math.min(side - 1, y + reach); v++) {
      for (let u = Math.max(0, x - reach); u <= Math.min(side - 1, x + reach); u++) { sum += pixels[plane + v * side + u]; count++; }
    }
    return sum / count;
  });
}

// -- the page -------------------------------------------------------------------------------------------------------------

const pause = () => new Promise((resolve) => { setTimeout(resolve); });

export function mount(live, data, buffer) {
  const { BOTH, element, labelled, select, slider, controls, inferno, fill, outline, plot, onResize, heatmap, mask, area, iou, chanceIou, number } =
    globalThis.kdnbExplorers;
  const { side, classes, teachers, students } = data, places = side * side, size = side * 8;
  const { tensors, metadata } = readTensors(buffer), strides = JSON.parse(metadata.strides);
  const networks = Object.fromEntries([...teachers, ...students].map((run) => [run, network(tensors, run, strides[run])]));
  const percent = (share) => `${number(100 * share, 0)} %`;
  live.classList.add("kdnb-look");

  // What is shown now.
  let base = null, viewed = null, erased = new Uint8Array(places), name = "", index = 0, label = null, anew = 0, turn = 0;
  let answers = {}, masks = [], deleted = null;

  // -- controls
  const image = select(data.images.map((_, i) => [i, `${i + 1}: ${classes[data.labels[i]]}`]), 0, () => choose(Number(image.value)));
  const steps = [["‹", "previous image", -1], ["›", "next image", 1]].map(([text, said, by]) => {
    const button = pressed(text, () => choose((Number(image.value) + by + data.images.length) % data.images.length));
    button.setAttribute("aria-label", said);
    return button;
  });
  const file = element("input", { type: "file", accept: "image/*" }), camera = element("input", { type: "file", accept: "image/*", capture: "environment" });
  for (const input of [file, camera]) input.addEventListener("change", () => input.files[0] && own(input.files[0]));
  const recipe = select([["", "as it is"], ...Object.keys(data.recipes).map((each) => [each, each])], "", () => { anew = 0; rebuild(); });
  const again = pressed("draw anew", () => { anew += 1; rebuild(); });
  const [first, second] = [0, 1].map((i) => select(teachers.map((run) => [run, run]), teachers[i], draw));
  const sort = select([["predicted", "of the predicted class"], ["chosen", "of a class that you choose"], ["sum", "summed over classes, as released"],
    ["occlusion", "occlusion: asks the network"]], "predicted", draw);
  const chosen = select(classes.map((each, k) => [k, each]), 0, draw), chosenLabel = labelled("class", chosen);
  const threshold = slider(0, 0.9, 0.05, data.threshold, draw), shown = element("output", { "aria-hidden": "true" });
  const kind = select([["grey", "grey"], ["blur", "blur"], ["other", "another image's pixels"]], "grey", draw);
  const width = slider(1, 12, 1, 5, () => { widthShown.value = width.value; }), widthShown = element("output", { "aria-hidden": "true" }, "5");
  const clear = pressed("undo all", () => { erased.fill(0); draw(); });
  const group = (title, ...children) => element("fieldset", {}, element("legend", {}, title), controls(...children));

  function pressed(text, act) {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", act);
    return button;
  }

  // -- panels
  const panels = Array.from({ length: 4 }, (_, place) => {
    const picture = element("canvas", { width: side, height: side, "aria-hidden": "true" });
    const canvas = element("canvas", { width: size, height: size, role: "img" }), caption = element("figcaption");
    const frame = element("div", { class: place ? "kdnb-frame kdnb-ash" : "kdnb-frame" }, picture, canvas);
    return { picture, canvas, caption, whole: element("figure", {}, frame, caption) };
  });
  const brush = panels[0].canvas;
  const note = element("p", { class: "kdnb-hint", "aria-live": "polite" }), said = element("p", { class: "kdnb-said", "aria-live": "polite" });
  const legend = element("ul", { class: "kdnb-legend" });
  const guess = element("p", { class: "kdnb-said", "aria-live": "polite" });
  const table = element("tbody"), agreed = element("p", { class: "kdnb-said", "aria-live": "polite" });
  const [mine, mean] = [0, 1].map(() => element("div", { class: "kdnb-plot" }));
  const areas = element("p", { class: "kdnb-said", "aria-live": "polite" });
  const curves = pressed("erase step by step", () => follow());

  live.append(
    group("Picture", element("div", { class: "kdnb-steps" }, labelled("image", image), ...steps), labelled("your own, from a file (or drop it here)", file),
      labelled("your own, by camera", camera)),
    element("p", { class: "kdnb-hint" }, `Your own picture is cut to its middle square and brought to ${side} pixels. It never leaves this browser.`),
    group("View", labelled("view", recipe), again),
    group("Maps", labelled("teacher A", first), labelled("teacher B", second), labelled("map", sort), chosenLabel, labelled("threshold", threshold, shown)),
    group("Brush", labelled("erase by", kind), labelled("width, pixels", width, widthShown), clear),
    element("p", { class: "kdnb-hint" }, "Paint on the first picture. By keyboard: arrow keys move a cross there, the space bar erases at it."), note,
    element("div", { class: "kdnb-panels" }, ...panels.map((panel) => panel.whole)), legend, said,
    element("h4", {}, "Guess first"),
    element("p", {}, "All that both teachers look at will be erased. Will the answer of teacher A change?"),
    controls(pressed("it will", () => reveal(true)), pressed("it will not", () => reveal(false))), guess,
    element("h4", {}, "What each network answers"),
    element("div", { class: "kdnb-table", tabindex: 0, role: "region", "aria-label": "answers of all networks" }, element("table", {},
      element("thead", {}, element("tr", {}, ...["network", "first", "second", "third"].map((text) => element("th", { scope: "col" }, text)))), table)), agreed,
    element("h4", {}, "Erase what the map marks, step by step"), controls(curves),
    element("div", { class: "kdnb-plots" }, mine, mean),
    element("ul", { class: "kdnb-legend" }, ...Object.entries(data.orders).map(([key, text]) => element("li", {},
      element("svg", { viewBox: "0 0 36 10", width: 36, height: 10, "aria-hidden": "true" }, element("path", { class: `kdnb-order kdnb-order-${key}`, d: "M0 5H36" })), text))),
    areas,
  );

  // -- pictures
  async function choose(place) {
    image.value = place;
    [name, index, label] = [`image ${place + 1}`, data.index[place], data.labels[place]];
    base = pixelsOf(await decoded(data.images[place]), side, side, side);
    start();
  }

  async function own(picked) {
    try {
      base = await pictureOf(picked, side);
      [name, index, label, note.textContent] = ["your picture", 0, null, ""];
      start();
    } catch (error) {
      note.textContent = error.message;
    }
  }

  function start() {
    anew = 0;
    erased.fill(0);
    guess.textContent = "";
    rebuild();
  }

  function rebuild() {
    again.disabled = !recipe.value;
    if (recipe.value) {
      const made = view(base, side, data.recipes[recipe.value], data.auto, data.seed, anew, index);
      viewed = made.pixels;
      note.textContent = `${recipe.value} view ${anew + 1}: ${made.done.join(", ") || "nothing changed"}.`;
    } else {
      viewed = base;
      note.textContent = "";
    }
    donor = null;
    draw();
  }

  for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
    live.addEventListener(event, (moved) => {
      moved.preventDefault();
      live.classList.toggle("kdnb-drop", event === "dragenter" || event === "dragover");
      if (event === "drop" && moved.dataTransfer.files[0]) own(moved.dataTransfer.files[0]);
    });
  }

  // -- the brush
  const cursor = { x: side >> 1, y: side >> 1, seen: false };
  let donor = null;

  function filling() {
    if (kind.value === "blur") return blurred(viewed, side, 5);
    if (kind.value === "other" && donor) return donor;
    return Uint8Array.from({ length: 3 * places }, (_, i) => Math.round(255 * data.mean[Math.floor(i / places)]));
  }

  function paint(x, y) {
    const reach = Number(width.value) / 2;
    for (let v = 0; v < side; v++) for (let u = 0; u < side; u++) if (Math.hypot(u + 0.5 - x, v + 0.5 - y) <= reach) erased[v * side + u] = 1;
    draw();
  }

  const placeOf = (event) => [event.offsetX, event.offsetY].map((at, i) => (at * side) / (i ? brush.clientHeight : brush.clientWidth));
  brush.classList.add("kdnb-brush");
  brush.setAttribute("tabindex", 0);
  brush.addEventListener("pointerdown", (event) => { brush.setPointerCapture(event.pointerId); paint(...placeOf(event)); });
  brush.addEventListener("pointermove", (event) => { if (event.buttons) paint(...placeOf(event)); });
  brush.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " ") return;
    event.preventDefault();
    cursor.seen = true;
    if (step) {
      [cursor.x, cursor.y] = [cursor.x + step[0], cursor.y + step[1]].map((at) => Math.min(side - 1, Math.max(0, at)));
      marks();
    } else paint(cursor.x + 0.5, cursor.y + 0.5);
  });
  brush.addEventListener("blur", () => { cursor.seen = false; marks(); });

  function marks() {
    const context = brush.getContext("2d"), cell = size / side, [x, y] = [cursor.x + 0.5, cursor.y + 0.5].map((at) => at * cell);
    context.clearRect(0, 0, size, size);
    if (!cursor.seen) return;
    for (const [colour, thick] of [["black", 6], ["white", 2.5]]) {
      [context.strokeStyle, context.lineWidth] = [colour, thick];
      context.beginPath();
      context.moveTo(x - 14, y); context.lineTo(x + 14, y); context.moveTo(x, y - 14); context.lineTo(x, y + 14);
      context.stroke();
    }
  }

  // -- what is seen
  function current() {
    if (!erased.includes(1)) return viewed;
    const other = filling();
    return viewed.map((value, i) => (erased[i % places] ? other[i] : value));
  }

  function onCanvas(canvas, pixels, ash) {
    const context = canvas.getContext("2d"), picture = context.createImageData(side, side);
    for (let i = 0; i < places; i++) {
      const rgb = [0, 1, 2].map((c) => pixels[c * places + i]), light = 110 + (rgb[0] + rgb[1] + rgb[2]) * 0.18;
      picture.data.set(ash ? [light, light, light, 255] : [...rgb, 255], 4 * i);
    }
    context.putImageData(picture, 0, 0);
  }

  function answer(run, values) {
    if (!answers[run]) {
      const features = networks[run].features(values, side), shares = softmax(networks[run].logitsOf(features));
      answers[run] = { features, shares, best: shares.indexOf(Math.max(...shares)) };
    }
    return answers[run];
  }

  function mapOf(run, values) {
    const { features, best } = answer(run, values);
    if (sort.value === "occlusion") return occlusion(networks[run], values, side, best, data.patch);
    return networks[run].cam(features, { predicted: best, chosen: Number(chosen.value), sum: null }[sort.value]);
  }

  async function draw() {
    if (!viewed) return;
    if (kind.value === "other" && !donor) {
      donor = pixelsOf(await decoded(data.images[(Number(image.value) + 1) % data.images.length]), side, side, side);
    }
    const now = ++turn, pixels = current(), values = normalised(pixels, data.mean, data.std), runs = [first.value, second.value];
    answers = {};
    deleted = null;
    chosenLabel.hidden = sort.value !== "chosen";
    shown.value = Number(threshold.value).toFixed(2);
    panels.forEach((panel, i) => onCanvas(panel.picture, pixels, i > 0));
    const heats = runs.map((run) => heatmap(mapOf(run, values), side));
    masks = heats.map((heat) => mask(heat, Number(threshold.value)));
    const covered = masks.map(area), gone = area(erased);
    marks();
    const title = label === null ? name : `${name}: ${classes[label]}`;
    panels[0].caption.textContent = title;
    brush.setAttribute("aria-label", `${title}; ${percent(gone)} of it erased. Arrow keys move the brush, space erases.`);
    runs.forEach((run, i) => {
      const into = panels[i + 1].canvas, context = into.getContext("2d"), cell = size / side, { best, shares } = answer(run, values);
      context.clearRect(0, 0, size, size);
      context.globalAlpha = 0.65;
      heats[i].forEach((value, at) => {
        context.fillStyle = inferno(value);
        context.fillRect((at % side) * cell, Math.floor(at / side) * cell, cell, cell);
      });
      context.globalAlpha = 1;
      outline(into, masks[i], side);
      into.setAttribute("aria-label", `heat map of ${run}; its mask covers ${percent(covered[i])}`);
      panels[i + 1].caption.textContent = `${"AB"[i]}: ${run} says ${classes[best]}, ${percent(shares[best])}`;
    });
    const regions = [
      [`only A, ${runs[0]}`, masks[0].map((inside, i) => inside & ~masks[1][i] & 1), data.colours[runs[0]], "rising"],
      [`only B, ${runs[1]}`, masks[1].map((inside, i) => inside & ~masks[0][i] & 1), data.colours[runs[1]], "falling"],
      ["both", masks[0].map((inside, i) => inside & masks[1][i]), BOTH, "solid"],
    ];
    panels[3].canvas.getContext("2d").clearRect(0, 0, size, size);
    panels[3].caption.textContent = "overlap of the masks";
    legend.replaceChildren(...regions.map(([text, region, colour, pattern]) => {
      fill(panels[3].canvas, region, side, colour, pattern);
      const swatch = element("canvas", { width: 36, height: 20, "aria-hidden": "true" });
      fill(swatch, [1], 1, colour, pattern);
      return element("li", {}, swatch, `${text}: ${percent(area(region))}`);
    }));
    panels[3].canvas.setAttribute("aria-label", `overlap: ${[...legend.children].map((item) => item.textContent).join(", ")}`);
    said.textContent = `IoU ${number(iou(...masks), 3)}; area-matched chance IoU ${number(chanceIou(...covered), 3)}. ` +
      `Area of A ${number(covered[0], 3)}, of B ${number(covered[1], 3)}; ${percent(gone)} of the picture erased.`;
    plots();
    await pause();
    for (const run of [...teachers, ...students]) {
      if (now !== turn) return;
      if (!answers[run]) { answer(run, values); await pause(); }
    }
    if (now === turn) tell(runs);
  }

  function tell(runs) {
    const together = answers[runs[0]].shares.map((share, k) => (share + answers[runs[1]].shares[k]) / 2);
    const rows = [...teachers.map((run) => [run, answers[run].shares]), [`A and B together: ${[...new Set(runs)].join(", ")}`, together],
      ...students.map((run) => [run, answers[run].shares])];
    const groups = new Map();
    table.replaceChildren(...rows.map(([run, shares]) => {
      const best = Array.from(shares.keys()).sort((a, b) => shares[b] - shares[a]).slice(0, 3);
      if (networks[run]) groups.set(best[0], [...(groups.get(best[0]) || []), run]);
      return element("tr", { class: best[0] === label ? "kdnb-right" : "" }, element("th", { scope: "row" }, run),
        ...best.map((k) => element("td", {}, `${classes[k]} ${percent(shares[k])}`)));
    }));
    const sorted = [...groups].sort((a, b) => b[1].length - a[1].length);
    agreed.textContent = `Who agrees. ${sorted.map(([k, of]) => `${classes[k]}${k === label ? " (right)" : ""}: ${of.join(", ")}`).join("; ")}.`;
    live.dataset.drawn = turn;
  }

  function reveal(will) {
    const values = normalised(current(), data.mean, data.std), before = answer(first.value, values);
    const both = masks[0].map((inside, i) => inside & masks[1][i]);
    both.forEach((inside, i) => { if (inside) erased[i] = 1; });
    const share = area(both), was = { best: before.best, share: before.shares[before.best] };
    draw();
    const after = answer(first.value, normalised(current(), data.mean, data.std)), changed = after.best !== was.best;
    guess.textContent = `${changed === will ? "You guessed right" : "It turned out otherwise"}: with ${percent(share)} of the picture erased, ${first.value} says ` +
      `${classes[after.best]} (${percent(after.shares[after.best])}), before ${classes[was.best]} (${percent(was.share)}).`;
  }

  // -- deletion
  async function follow() {
    const now = turn, values = normalised(current(), data.mean, data.std), run = first.value, { best, features } = answer(run, values);
    const of = { map: networks[run].cam(features, best), occlusion: occlusion(networks[run], values, side, best, data.patch) };
    const orders = Object.fromEntries(Object.entries(of).map(([key, map]) => [key, falling(heatmap(map, side))]));
    orders.reverse = [...orders.map].reverse();
    orders.random = permutation(places, data.seed, Math.max(0, data.index.indexOf(index)));
    const found = Object.fromEntries(Object.keys(data.orders).map((key) => [key, []]));
    curves.disabled = true;
    for (const key of Object.keys(data.orders)) {
      for (const share of curve(networks[run], values, side, best, orders[key], data.steps)) {
        found[key].push(share);
        if (found[key].length % 4 === 0) await pause();
        if (now !== turn) break;
      }
    }
    curves.disabled = false;
    if (now !== turn) return;
    deleted = { run, best, found };
    plots();
  }

  const under = (shares) => shares.slice(1).reduce((sum, share, i) => sum + (share + shares[i]) / 2, 0) / (shares.length - 1);

  function plots() {
    const run = first.value, of = data.deletion[run];
    const lines = (holder, found, what) => plot(holder, what, [[0, 1], [0, Math.max(...Object.values(found).flat(), 0.01)]],
      ["share of the picture erased", "probability of its answer"], (svg, x, y) => {
        for (const [key, shares] of Object.entries(found)) {
          svg.append(element("path", { class: `kdnb-order kdnb-order-${key}`, d: "M" + shares.map((share, i) => `${x(i / (shares.length - 1))} ${y(share)}`).join("L") }));
        }
      });
    const told = (found) => Object.entries(data.orders).map(([key, text]) => `${text} ${number(under(found[key]), 3)}`).join(", ");
    lines(mean, of, `deletion curves of ${run}, mean of ${data.images.length} images`);
    mean.prepend(element("p", { class: "kdnb-hint" }, `${run}, mean of the ${data.images.length} images`));
    areas.textContent = `Area under the curve, ${run}, mean of the images: ${told(of)}.`;
    if (!deleted) { mine.replaceChildren(element("p", { class: "kdnb-hint" }, "This picture: press the button.")); return; }
    lines(mine, deleted.found, `deletion curves of ${deleted.run} for ${name}`);
    mine.prepend(element("p", { class: "kdnb-hint" }, `${deleted.run} for ${name}: ${classes[deleted.best]}`));
    areas.textContent += ` For ${name}: ${told(deleted.found)}.`;
  }

  onResize(mean, plots);
  choose(0);
  return { networks, answerOf: (run) => answers[run] };
}

// In a notebook: anywidget calls this with the kernel's data.
export default {
  render({ model, el }) {
    el.classList.add("kdnb-explorer");
    const bytes = model.get("networks");
    mount(el, model.get("data"), bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  },
};
