// Explorers: reads the data that kdnb/book/explorers.py puts into a page, and places controls where a static picture was.
// The arithmetic (first part) is that of kdnb.evidence.overlap; a test holds the two together.
(function () {
  "use strict";

  const BOTH = "#e8c21a";
  const HERE = typeof document === "undefined" ? "" : document.currentScript?.src;

  // -- arithmetic ----------------------------------------------------------------------------------------------------

  // A map (h rows of w) brought to side × side, bilinear without aligned corners, scaled to [0, 1]; a constant map to 0.
  function heatmap(map, side) {
    const height = map.length, width = map[0].length;
    const least = Math.min(...map.flat());
    const steps = (count) => Array.from({ length: side }, (_, i) => {
      const at = Math.max(0, ((i + 0.5) * count) / side - 0.5);
      const low = Math.min(Math.floor(at), count - 1);
      return [low, Math.min(low + 1, count - 1), at - low];
    });
    const rows = steps(height), columns = steps(width), large = new Float64Array(side * side);
    rows.forEach(([top, bottom, down], y) => columns.forEach(([left, right, across], x) => {
      const mix = (row) => (row[left] - least) * (1 - across) + (row[right] - least) * across;
      large[y * side + x] = mix(map[top]) * (1 - down) + mix(map[bottom]) * down;
    }));
    let low = Infinity, high = -Infinity;
    for (const value of large) { low = Math.min(low, value); high = Math.max(high, value); }
    return large.map((value) => (value - low) / (high - low + 1e-8));
  }

  const mask = (heat, threshold) => Uint8Array.from(heat, (value) => (value > threshold ? 1 : 0));
  const area = (one) => one.reduce((sum, value) => sum + value, 0) / one.length;

  function iou(one, other) {
    let both = 0, either = 0;
    for (let i = 0; i < one.length; i++) { both += one[i] & other[i]; either += one[i] | other[i]; }
    return either ? both / either : 1;
  }

  // What masks of these areas would have if each lay independently of the other.
  function chanceIou(first, second) {
    const either = 1 - (1 - first) * (1 - second);
    return either > 0 ? (first * second) / either : 1;
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // Pearson's; null where there are fewer than three pairs or a measure does not vary.
  function correlation(xs, ys) {
    if (xs.length < 3) return null;
    const dx = xs.map((x) => x - mean(xs)), dy = ys.map((y) => y - mean(ys));
    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const size = Math.sqrt(dot(dx, dx) * dot(dy, dy));
    return size > 1e-12 ? dot(dx, dy) / size : null;
  }

  // Each seed's correlation over its cells, then their mean: the seed is the unit of evidence. null where no seed has one.
  function correlationBySeed(points, x, y) {
    const each = [...new Set(points.map((point) => point.seed))].map((seed) => {
      const of = points.filter((point) => point.seed === seed);
      return correlation(of.map((point) => point.values[x]), of.map((point) => point.values[y]));
    }).filter((value) => value !== null);
    return each.length ? mean(each) : null;
  }

  // Round numbers between two values, at most about so many.
  function ticks(low, high, most) {
    const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  // With a sign a number has as many digits as it takes not to read as zero, as kdnb.evidence.estimands.signed has it.
  function number(value, digits, sign) {
    if (value === null) return "not defined";
    if (!sign) return value.toFixed(digits).replace("-", "−");
    const rounded = Math.abs(value) < 1e-9 ? 0 : value;
    while (rounded !== 0 && Math.abs(rounded) < 0.5 * 10 ** -digits) digits += 1;
    return (rounded < 0 ? "−" : "+") + Math.abs(rounded).toFixed(digits);
  }

  // -- pieces of a page ----------------------------------------------------------------------------------------------

  function element(name, attributes, ...children) {
    const svg = ["svg", "g", "path", "circle", "line", "text"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const labelled = (text, control, ...more) => element("label", {}, element("span", {}, text), control, ...more);

  function select(options, value, onChange) {
    const made = element("select");
    for (const [key, text] of options) made.append(element("option", { value: key }, text));
    made.value = value;
    made.addEventListener("change", onChange);
    return made;
  }

  function slider(low, high, step, value, onInput) {
    const made = element("input", { type: "range", min: low, max: high, step, value });
    made.addEventListener("input", onInput);
    return made;
  }

  const controls = (...children) => element("div", { class: "kdnb-controls", role: "group", "aria-label": "Controls" }, ...children);

  // -- where teachers look -------------------------------------------------------------------------------------------

  const INFERNO = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

  function inferno(value) {
    const at = Math.min(value, 0.9999) * (INFERNO.length - 1), low = Math.floor(at);
    return `rgb(${INFERNO[low].map((from, i) => Math.round(from + (at - low) * (INFERNO[low + 1][i] - from))).join()})`;
  }

  // Fills a region of a canvas: a wash of colour, and lines at an angle, so that it can be told apart without colour.
  function fill(canvas, region, side, colour, pattern) {
    const context = canvas.getContext("2d"), cell = canvas.width / side;
    context.save();
    context.beginPath();
    region.forEach((inside, i) => {
      if (inside) context.rect((i % side) * cell, Math.floor(i / side) * cell, cell, cell);
    });
    context.clip();
    context.fillStyle = colour;
    context.globalAlpha = pattern === "solid" ? 0.85 : 0.4;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (pattern !== "solid") {
      context.globalAlpha = 1;
      context.strokeStyle = colour;
      context.lineWidth = 3;
      context.beginPath();
      for (let at = -canvas.width; at < 2 * canvas.width; at += 12) {
        context.moveTo(at, 0);
        context.lineTo(pattern === "rising" ? at - canvas.height : at + canvas.height, canvas.height);
      }
      context.stroke();
    }
    context.restore();
  }

  // The border of a mask, white on black so that it shows on any heat.
  function outline(canvas, inside, side) {
    const context = canvas.getContext("2d"), cell = canvas.width / side;
    const at = (x, y) => (x < 0 || y < 0 || x >= side || y >= side ? 0 : inside[y * side + x]);
    context.beginPath();
    for (let y = 0; y <= side; y++) {
      for (let x = 0; x <= side; x++) {
        if (at(x, y) !== at(x - 1, y)) { context.moveTo(x * cell, y * cell); context.lineTo(x * cell, (y + 1) * cell); }
        if (at(x, y) !== at(x, y - 1)) { context.moveTo(x * cell, y * cell); context.lineTo((x + 1) * cell, y * cell); }
      }
    }
    context.lineCap = "square";
    for (const [colour, width] of [["black", 5], ["white", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }

  function attention(data, live) {
    const side = data.side, size = side * Math.max(2, Math.round(256 / side));
    const canvas = (width, height, more) => element("canvas", { width, height, ...more });
    const panels = Array.from({ length: 4 }, (_, place) => {
      const picture = element("img", { alt: "", class: "dark-light" });
      const over = place ? [canvas(size, size, { role: "img" })] : [];
      const caption = element("figcaption");
      const frame = element("div", { class: place ? "kdnb-frame kdnb-grey" : "kdnb-frame" }, picture, ...over);
      return { picture, canvas: over[0], caption, whole: element("figure", {}, frame, caption) };
    });
    const image = select(data.labels.map((label, i) => [i, `${i + 1}: ${label}`]), 0, draw);
    const first = select(data.teachers.map((run) => [run, run]), data.teachers[0], draw);
    const second = select(data.teachers.map((run) => [run, run]), data.teachers[1], draw);
    const threshold = slider(0, 0.9, 0.05, data.threshold, draw), shown = element("output", { "aria-hidden": "true" });
    const steps = [["‹", "previous image", -1], ["›", "next image", 1]].map(([text, name, by]) => {
      const button = element("button", { type: "button", "aria-label": name }, text);
      button.addEventListener("click", () => {
        image.value = (Number(image.value) + by + data.images.length) % data.images.length;
        draw();
      });
      return button;
    });
    const said = element("p", { class: "kdnb-said", "aria-live": "polite" });
    const legend = element("ul", { class: "kdnb-legend" });
    live.append(
      controls(
        element("div", { class: "kdnb-steps" }, labelled("image", image), ...steps),
        labelled(`${data.what} A`, first), labelled(`${data.what} B`, second), labelled("threshold", threshold, shown),
      ),
      element("div", { class: "kdnb-panels" }, ...panels.map((panel) => panel.whole)), legend, said,
    );

    function draw() {
      const place = Number(image.value), level = Number(threshold.value), names = [first.value, second.value];
      const heats = names.map((run) => heatmap(data.maps[run][place], side));
      const masks = heats.map((heat) => mask(heat, level)), areas = masks.map(area);
      shown.value = level.toFixed(2);
      for (const panel of panels) panel.picture.src = data.images[place];
      panels[0].picture.alt = `image ${place + 1}, ${data.labels[place]}`;
      panels[0].caption.textContent = `image ${place + 1}: ${data.labels[place]}`;
      names.forEach((run, i) => {
        const { canvas: into, caption } = panels[i + 1], context = into.getContext("2d"), cell = size / side;
        context.clearRect(0, 0, size, size);
        context.globalAlpha = 0.65;
        heats[i].forEach((value, at) => {
          context.fillStyle = inferno(value);
          context.fillRect((at % side) * cell, Math.floor(at / side) * cell, cell, cell);
        });
        context.globalAlpha = 1;
        outline(into, masks[i], side);
        into.setAttribute("aria-label", `heat map of ${run}; its mask covers ${number(100 * areas[i], 0)} percent`);
        caption.textContent = `${"AB"[i]}: ${run}`;
      });
      const colours = names.map((run) => data.colours[run]);
      const regions = [
        [`only A, ${names[0]}`, masks[0].map((inside, i) => inside & ~masks[1][i] & 1), colours[0], "rising"],
        [`only B, ${names[1]}`, masks[1].map((inside, i) => inside & ~masks[0][i] & 1), colours[1], "falling"],
        ["both", masks[0].map((inside, i) => inside & masks[1][i]), BOTH, "solid"],
      ];
      panels[3].canvas.getContext("2d").clearRect(0, 0, size, size);
      panels[3].caption.textContent = "overlap of the masks";
      legend.replaceChildren(...regions.map(([name, region, colour, pattern]) => {
        fill(panels[3].canvas, region, side, colour, pattern);
        const swatch = canvas(36, 20, { "aria-hidden": "true" });
        fill(swatch, [1], 1, colour, pattern);
        return element("li", {}, swatch, `${name}: ${number(100 * area(region), 0)} %`);
      }));
      panels[3].canvas.setAttribute("aria-label", `overlap: ${[...legend.children].map((item) => item.textContent).join(", ")}`);
      said.textContent = `IoU ${number(iou(...masks), 3)}; area-matched chance IoU ${number(chanceIou(...areas), 3)}. ` +
        `Area of A ${number(areas[0], 3)}, of B ${number(areas[1], 3)}.`;
    }
    draw();
  }

  // -- a plot --------------------------------------------------------------------------------------------------------

  // Axes as wide as the page allows, redrawn when that changes. `paint` gets the svg and the two scales.
  function plot(holder, label, extent, titles, paint) {
    const width = Math.max(280, Math.min(720, holder.clientWidth || 360)), height = Math.round(Math.min(420, width * 0.75));
    const margin = { left: 58, right: 12, top: 26, bottom: 44 };
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": label });
    const scale = ([low, high], from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);
    const [xs, ys] = extent;
    const x = scale(xs, margin.left, width - margin.right), y = scale(ys, height - margin.bottom, margin.top);
    const grid = element("g", { "aria-hidden": "true" });
    const across = ticks(...xs, width / 65), up = ticks(...ys, height / 45);
    for (const value of across.values) {
      grid.append(
        element("line", { x1: x(value), x2: x(value), y1: margin.top, y2: height - margin.bottom }),
        element("text", { x: x(value), y: height - margin.bottom + 16, "text-anchor": "middle" }, number(value, across.digits)),
      );
    }
    for (const value of up.values) {
      grid.append(
        element("line", { x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }),
        element("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, up.digits)),
      );
    }
    grid.append(
      element("text", { x: (margin.left + width - margin.right) / 2, y: height - 8, "text-anchor": "middle" }, titles[0]),
      element("text", { x: 4, y: 14 }, `↑ ${titles[1]}`),
    );
    svg.append(grid);
    paint(svg, x, y);
    holder.replaceChildren(svg);
  }

  // An interval around the values, with a little room.
  function around(values) {
    const low = Math.min(...values), high = Math.max(...values), room = 0.06 * (high - low || Math.abs(high) || 1);
    return [low - room, high + room];
  }

  function onResize(holder, draw) {
    let width = holder.clientWidth;
    new ResizeObserver(() => {
      if (holder.clientWidth !== width) { width = holder.clientWidth; draw(); }
    }).observe(holder);
  }

  // -- how strong augmentation is ------------------------------------------------------------------------------------

  function dial(data, live) {
    const strength = slider(0, data.strengths.length - 1, 1, data.strengths.indexOf(data.start), draw), shown = element("output", { "aria-hidden": "true" });
    const pictures = data.labels.map(() => element("img", { alt: "", class: "dark-light" }));
    const holder = element("div", { class: "kdnb-plot" }), said = element("p", { class: "kdnb-said", "aria-live": "polite" });
    live.append(
      controls(labelled("strength", strength, shown)), element("div", { class: "kdnb-row" }, ...pictures), holder, said,
    );
    const extent = [[0, 1], around([0, ...Object.values(data.seeds).flat()])];
    const path = (x, y, values) => "M" + values.map((value, i) => `${x(data.strengths[i])} ${y(value)}`).join("L");

    function draw() {
      const at = Number(strength.value), level = data.strengths[at].toFixed(1);
      shown.value = level;
      strength.setAttribute("aria-valuetext", level);
      pictures.forEach((picture, i) => {
        picture.src = data.images[at][i];
        picture.alt = `${data.labels[i]}, strength ${level}`;
      });
      plot(holder, "change in the reference's accuracy against strength", extent, ["strength (0 clean, 1 strong)", "change in accuracy"], (svg, x, y) => {
        if (Object.keys(data.seeds).length > 1) {
          for (const values of Object.values(data.seeds)) svg.append(element("path", { class: "kdnb-thin", d: path(x, y, values) }));
        }
        svg.append(
          element("path", { class: "kdnb-line", d: path(x, y, data.affinity) }),
          element("line", { class: "kdnb-at", x1: x(data.strengths[at]), x2: x(data.strengths[at]), y1: y(extent[1][0]), y2: y(extent[1][1]) }),
          element("circle", { class: "kdnb-marker", cx: x(data.strengths[at]), cy: y(data.affinity[at]), r: 7 }),
        );
      });
      said.textContent = `At strength ${level} the reference's accuracy is ${number(data.accuracy[at], 3)}, ` +
        `which is ${number(data.affinity[at], 3, true)} from that on clean images.`;
    }
    draw();
    onResize(holder, draw);
  }

  // -- which measures go together ------------------------------------------------------------------------------------

  const SHAPES = { weak: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0Z", strong: "M-5.5 -5.5h11v11h-11Z", mixed: "M0 -7.5L7.5 0L0 7.5L-7.5 0Z",
    other: "M0 -7L6.5 5.5H-6.5Z" };

  // A plot of marks that say their values when they are pointed at or stepped to. `shown` has, for each mark: at (two numbers),
  // text, shape, paint. With keys one steps through them from left to right.
  function marks(holder, tip, label, extent, titles, shown) {
    tip.hidden = true;
    plot(holder, label, extent, titles, (svg, across, up) => {
      const drawn = shown.map(({ at: [x, y], text, shape, paint }) => {
        const at = [across(x), up(y)];
        const mark = element("g", { class: "kdnb-point", transform: `translate(${at})`, tabindex: -1, role: "img", "aria-label": text },
          element("path", { d: SHAPES[shape], ...paint, "stroke-width": 2 }));
        const tell = () => {
          tip.textContent = text;
          tip.hidden = false;
          const room = holder.clientWidth - tip.offsetWidth;
          tip.style.left = `${Math.max(0, Math.min(room, at[0] - tip.offsetWidth / 2))}px`;
          tip.style.top = `${at[1] > 150 ? at[1] - tip.offsetHeight - 14 : at[1] + 14}px`;
        };
        mark.addEventListener("focus", tell);
        mark.addEventListener("pointerenter", tell);
        for (const left of ["blur", "pointerleave"]) mark.addEventListener(left, () => { tip.hidden = true; });
        return mark;
      });
      drawn.forEach((mark, i) => mark.addEventListener("keydown", (event) => {
        const to = { ArrowRight: i + 1, ArrowUp: i + 1, ArrowLeft: i - 1, ArrowDown: i - 1, Home: 0, End: drawn.length - 1 }[event.key];
        if (event.key === "Escape") tip.hidden = true;
        if (to === undefined) return;
        event.preventDefault();
        if (!drawn[to]) return;
        mark.setAttribute("tabindex", -1);
        drawn[to].setAttribute("tabindex", 0);
        drawn[to].focus();
      }));
      if (drawn.length) drawn[0].setAttribute("tabindex", 0);
      svg.append(...drawn);
    });
  }

  const paintOf = (look) => ({ stroke: look.colour, fill: look.filled ? look.colour : "transparent" });

  // What colours and shapes mean.
  function legendOf(students, shapes) {
    const sample = (shape, paint) => element("svg", { viewBox: "-9 -9 18 18", width: 18, height: 18, "aria-hidden": "true" },
      element("path", { d: SHAPES[shape], ...paint, "stroke-width": 2 }));
    return element("ul", { class: "kdnb-legend" },
      ...Object.entries(students).map(([student, look]) =>
        element("li", {}, sample("weak", paintOf(look)), `${student} student (${look.filled ? "filled" : "hollow"})`)),
      ...shapes.map((shape) => element("li", {}, sample(shape, { stroke: "currentColor", fill: "none" }), `${shape} teachers`)));
  }

  // A plot with its tip, a hint how to read it, and a sentence that changes with it.
  function stage() {
    const holder = element("div", { class: "kdnb-plot" }), tip = element("div", { class: "kdnb-tip", "aria-hidden": "true" });
    const said = element("p", { class: "kdnb-said", "aria-live": "polite" });
    const hint = element("p", { class: "kdnb-hint" }, "Point at a student, or step through them with Tab and the arrow keys, to read its values.");
    tip.hidden = true;
    return { holder, tip, said, parts: [element("div", { class: "kdnb-stage" }, holder, tip), hint, said] };
  }

  function scatter(data, live) {
    const students = Object.keys(data.students), shapes = [...new Set(data.points.map((point) => point.shape))];
    const options = Object.entries(data.measures);
    const x = select(options, data.x, draw), y = select(options, data.y, draw);
    const { holder, tip, said, parts } = stage();
    live.append(controls(labelled("across (x)", x), labelled("up (y)", y)), legendOf(data.students, shapes), ...parts);

    function draw() {
      const names = [x.value, y.value], titles = names.map((name) => data.measures[name]);
      const points = data.points.filter((point) => names.every((name) => point.values[name] !== null))
        .sort((a, b) => a.values[names[0]] - b.values[names[0]]);
      const extent = names.map((name) => around(points.map((point) => point.values[name])));
      const label = `${points.length} distilled students: ${titles[1]} against ${titles[0]}`;
      marks(holder, tip, label, extent, titles, points.map((point) => {
        const values = names.map((name, i) => `${titles[i]} ${number(point.values[name], 3)}`);
        return { at: names.map((name) => point.values[name]), shape: point.shape, paint: paintOf(data.students[point.student]),
          text: `${point.run}, seed ${point.seed}: ${[...new Set(values)].join(", ")}` };
      }));
      const r = (of) => `${number(correlationBySeed(of, ...names), 2, true)} (${of.length})`;
      const within = students.map((student) => `among ${student} students ${r(points.filter((point) => point.student === student))}`);
      const seeds = new Set(points.map((point) => point.seed)).size;
      said.textContent = `Pearson correlation${seeds > 1 ? `, mean over ${seeds} seeds` : ""}: all students ${r(points)}, ${within.join(", ")}.`;
    }
    draw();
    onResize(holder, draw);
  }

  // -- the paper's tables --------------------------------------------------------------------------------------------

  // Values less the mean of those with the same student.
  function centred(points, name) {
    return points.map((point) => point.values[name] -
      mean(points.filter((other) => other.student === point.student).map((other) => other.values[name])));
  }

  function tables(data, live) {
    const titleOf = (name) => data.measures[name];
    const dataset = select(Object.entries(data.datasets).map(([name, each]) => [name, each.title]), data.dataset, choose);
    const x = select([], "", draw), y = select([], "", draw), fixed = element("input", { type: "checkbox" });
    fixed.addEventListener("change", draw);
    const { holder, tip, said, parts } = stage();
    live.append(
      controls(labelled("data set", dataset), labelled("across (x)", x), labelled("up (y)", y),
        labelled("hold the student's augmentation fixed", fixed)),
      legendOf(data.students, ["weak", "strong", "mixed"]), ...parts,
    );

    // A data set prints some of the measures only.
    function choose() {
      const there = Object.keys(data.measures).filter((name) => name in data.datasets[dataset.value].points[0].values);
      for (const [control, start] of [[x, data.x], [y, data.y]]) {
        const kept = there.includes(control.value) ? control.value : there.includes(start) ? start : there[0];
        control.replaceChildren(...there.map((name) => element("option", { value: name }, titleOf(name))));
        control.value = kept;
      }
      draw();
    }

    function draw() {
      const names = [x.value, y.value], { title, points } = data.datasets[dataset.value];
      const values = names.map((name) => (fixed.checked ? centred(points, name) : points.map((point) => point.values[name])));
      const order = points.map((_, i) => i).sort((a, b) => values[0][a] - values[0][b]);
      const titles = names.map((name) => titleOf(name) + (fixed.checked ? ", less its student's mean" : ""));
      marks(holder, tip, `the paper's eight trials on ${title}: ${titles[1]} against ${titles[0]}`, values.map(around), titles,
        order.map((i) => ({ at: [values[0][i], values[1][i]], shape: points[i].shape, paint: paintOf(data.students[points[i].student]),
          text: `${points[i].trial}: ${[...new Set(names.map((name) => `${titleOf(name)} ${number(points[i].values[name], 4)}`))].join(", ")}` })));
      const raw = (of) => number(correlation(...names.map((name) => of.map((point) => point.values[name]))), 2, true);
      const within = Object.keys(data.students).map((student) => `among ${student} students ${raw(points.filter((point) => point.student === student))} (4)`);
      said.textContent = `Pearson correlation: all trials ${raw(points)} (8), ${within.join(", ")}; with the student's augmentation held fixed ` +
        `${number(correlation(...names.map((name) => centred(points, name))), 2, true)}.`;
    }
    choose();
    onResize(holder, draw);
  }

  // -- the ruler -----------------------------------------------------------------------------------------------------

  // Rows of a claim that have the kept values. A row: the place of each choice's value, then effect, whether the mean has the
  // paper's sign, in how many seeds it has, and a mark (1 declared, 2 the paper's own).
  function kept(of, values) {
    const names = Object.keys(of.choices);
    return of.rows.filter((row) => names.every((name, i) => !(name in values) || of.choices[name][row[i]] === values[name]));
  }

  function signs(of, rows) {
    const at = Object.keys(of.choices).length;
    return { all: rows.length, mean: rows.filter((row) => row[at + 1]).length, every: rows.filter((row) => row[at + 2] === of.seeds).length };
  }

  function specifications(data, live) {
    const claim = select(Object.keys(data.claims).map((key) => [key, key]), Object.keys(data.claims)[0], choose);
    const rulers = element("div", { class: "kdnb-controls", role: "group", "aria-label": "Ways of measuring to keep" });
    const holder = element("div", { class: "kdnb-plot" }), said = element("p", { class: "kdnb-said", "aria-live": "polite" });
    const legend = element("ul", { class: "kdnb-legend" },
      ...[["weak", "declared"], ["strong", "the paper's own"]].map(([shape, text]) => element("li", {},
        element("svg", { viewBox: "-9 -9 18 18", width: 18, height: 18, "aria-hidden": "true" },
          element("path", { class: "kdnb-mark", d: SHAPES[shape], "stroke-width": 2 })), text)));
    live.append(controls(labelled("claim", claim)), rulers, legend, holder, said);
    let chosen = [];

    function choose() {
      chosen = Object.entries(data.claims[claim.value].choices).map(([name, values]) =>
        [name, select([[data.any, data.any], ...values.map((value) => [value, value])], data.any, draw)]);
      rulers.replaceChildren(...chosen.map(([name, control]) => labelled(name, control)));
      draw();
    }

    function draw() {
      const of = data.claims[claim.value], at = Object.keys(of.choices).length;
      const values = Object.fromEntries(chosen.filter(([, control]) => control.value !== data.any).map(([name, control]) => [name, control.value]));
      const rows = kept(of, values), { all, mean, every } = signs(of, rows);
      said.textContent = all
        ? `${claim.value}: the paper's sign in ${mean} of ${all} ways of measuring, and in every seed in ${every} (of ${of.seeds}).`
        : "No way of measuring has all of these at once.";
      if (!all) { holder.replaceChildren(); return; }
      const extent = [[-0.5, all - 0.5], around([0, ...rows.map((row) => row[at])])];
      plot(holder, said.textContent, extent, ["ways of measuring, sorted", "effect"], (svg, x, y) => {
        svg.append(
          element("line", { class: "kdnb-at", x1: x(-0.5), x2: x(all - 0.5), y1: y(0), y2: y(0) }),
          element("path", { class: "kdnb-line", d: "M" + rows.map((row, i) => `${x(i)} ${y(row[at])}`).join("L") }),
        );
        if (all <= 120) for (const [i, row] of rows.entries()) svg.append(element("circle", { class: "kdnb-dot", cx: x(i), cy: y(row[at]), r: 3.5 }));
        rows.forEach((row, i) => {
          if (row[at + 3]) {
            svg.append(element("path", { class: "kdnb-mark", "stroke-width": 2, d: SHAPES[row[at + 3] === 1 ? "weak" : "strong"],
              transform: `translate(${x(i)} ${y(row[at])})` }));
          }
        });
      });
    }
    choose();
    onResize(holder, draw);
  }

  // -- look for yourself ---------------------------------------------------------------------------------------------

  // A file as bytes; says how much of it is there.
  async function fetched(url, bytes, say) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    const parts = [], reader = answer.body.getReader();
    for (let there = 0; ;) {
      const { done, value } = await reader.read();
      if (done) return new Blob(parts).arrayBuffer();
      parts.push(value);
      say((there += value.length) / bytes);
    }
  }

  // The networks, and what runs them (look.js), come when a reader asks for them.
  function look(data, live) {
    const button = element("button", { type: "button" }, `Load the networks (${number(data.bytes / 1e6, 1)} MB)`);
    const progress = element("progress", { max: 1, value: 0, "aria-label": "loaded", hidden: "" });
    const said = element("p", { class: "kdnb-said", "aria-live": "polite" });
    const picture = live.parentElement.querySelector(".kdnb-static");
    live.append(controls(button, progress), said);
    button.addEventListener("click", async () => {
      button.disabled = true;
      progress.hidden = false;
      try {
        const [{ mount }, networks] = await Promise.all([
          import(new URL(data.module, HERE)), fetched(new URL(data.file, HERE), data.bytes, (share) => { progress.value = share; }),
        ]);
        live.replaceChildren();
        mount(live, data, networks);
        picture.hidden = true;
      } catch (error) {
        button.disabled = false;
        progress.hidden = true;
        said.textContent = location.protocol === "file:"
          ? "A browser loads no networks for a page that was opened as a file. Serve the book's folder: python -m http.server"
          : `The networks could not be loaded: ${error.message}`;
      }
    });
  }

  // -- the page ------------------------------------------------------------------------------------------------------

  const KINDS = { attention, directions: attention, dial, look, scatter, specifications, tables };

  // The picture goes once its explorer works; where it does not, the picture stays, and the page's others start all the same.
  function start(root) {
    const live = element("div", { class: "kdnb-live" });
    const picture = root.querySelector(".kdnb-static");
    picture.after(live);
    try {
      const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      KINDS[root.dataset.kind](data, live);
      picture.hidden = root.dataset.kind !== "look";
    } catch (error) {
      live.remove();
      console.error(error);
    }
  }

  const shared = { BOTH, element, labelled, select, slider, controls, inferno, fill, outline, plot, onResize, heatmap, mask, area, iou, chanceIou,
    correlation, correlationBySeed, centred, kept, number, signs, ticks };
  if (typeof module !== "undefined") module.exports = shared;
  else {
    globalThis.kdnbExplorers = shared;  // which look.js builds on
    document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".kdnb-explorer").forEach(start));
  }
})();
