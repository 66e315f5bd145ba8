// Draws the planes through one voxel of a volume that was sent once, and the controls around them.
//
// JupyterLab and the website run this same module, as it stands: no build step, no packages. The `model` holds
// the state that Python shares (`index`, `time`, `window`, …), the scene, which is all that `scene.py` knows of the
// images, and their packed voxels; of large images the planes seen first come before them. Everything that the
// canvas shows is also a pure function in `slices.py`.
//
// From top to bottom: voxels → colours, the geometry of a plane, small parts of the page, the viewer.

export default {
  render({ model, el }) {
    const viewer = new Viewer(model, el);
    // A web page shows its still picture until the planes are drawn.
    return Object.assign(() => viewer.close(), { drawn: viewer.drawn });
  },
};

const REGISTRATION_HELP = [
  ["1 to 5", "fixed, moving, warped, difference, Jacobian"],
  ["G, A, U, N", "draw the grid, arrows, the update during the run, nothing over it"],
];
const REGISTRATION_KEYS = {
  1: { shown: "fixed" },
  2: { shown: "moving" },
  3: { shown: "warped" },
  4: { shown: "difference" },
  5: { shown: "Jacobian" },
  g: { drawn: "grid" },
  a: { drawn: "arrows" },
  u: { drawn: "update × 10" },
  n: { drawn: "nothing" },
};
const HELP = [
  ["arrow keys", "move the crosshair in the plane (with Shift: by 10)"],
  ["Page Up, Page Down", "next or previous slice (with Shift: by 10)"],
  ["Home, End", "first or last slice"],
  ["+, −, 0", "zoom in, zoom out, whole image"],
  ["Enter", "choose the voxel, like a click"],
  ["C", "hide or show the crosshair"],
];
const TIME_HELP = [["[, ], Space", "previous or next time point, play or pause"]];
const OVERLAY_HELP = [["O", "hide or show the overlay"]];
const COMPARE_HELP = [
  ["M", "next way to compare"],
  ["Space, or the button hold", "hold or go on flickering"],
];
const MOUSE_HELP =
  "Click or drag to move the crosshair; then the wheel turns the slices. Drag with Shift or the right button: " +
  "to the side for the width of the window, up and down for its level.";
const TOUCH_HELP =
  "A tap or a finger drawn to the side moves the crosshair; drawn up or down it scrolls the page, and two enlarge it.";
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const TURNING = ["PageUp", "PageDown", "Home", "End"];
const DIRECTIONS = { L: "left", R: "right", P: "posterior", A: "anterior", I: "inferior", S: "superior" };
const FOLDED = [255, 221, 0];
const BY_HAND = "by hand";
const FRAME_MS = 100; // of a played time series
const FLICKER_MS = 500; // two changes a second: three flashes may harm
const SVG = "http://www.w3.org/2000/svg"; // a name, not an address: nothing is fetched
const CURVE = { widest: 640, height: 150, left: 62, right: 12, top: 32, bottom: 20 };
const MOST_ZOOM = 16;
const GRID_LINES = 32; // along the longer side of a plane
const FINEST = 2400; // pixels of the canvas for lines: zoomed in on a large screen, more would take gigabytes
const FIELD_COLOUR = "#56b4e9";
const TILES = 8; // of a checkerboard, along the longer side
const WORDS_MS = 20; // a little more than a frame, until the words follow the planes, and the kernel hears of a click
const REST_MS = 100; // without a move, until the kernel hears of the last one and says what only it knows
const TELL_MS = 400; // at the latest, while the moves go on: what the kernel answers keeps the page busy
const MARGIN = 22; // CSS pixels around a plane, for its letters
const SLOP = 8; // CSS pixels that a finger moves before it is clear where to
const NARROW = 560; // CSS pixels, below which planes stand one under the other
const HIGHEST = { 1: 420, 2: 340, 3: 320 }; // CSS pixels of the tallest plane, by the number of planes

// ---- Voxels to colours ---------------------------------------------------------------------------------

const unpacked = new WeakMap(); // once for each layer, however many views show it

/** Promise the codes of a layer, as an array of unsigned integers with i fastest. */
function codesOf(layer) {
  if (!unpacked.has(layer)) {
    const integers = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[layer.bytes];
    const unpack = async () => {
      // A web page may still be fetching them.
      const stream = new Response(await layer.voxels).body.pipeThrough(new DecompressionStream("gzip"));
      return new integers(await new Response(stream).arrayBuffer());
    };
    unpacked.set(layer, unpack());
  }
  return unpacked.get(layer);
}

/** Return an array filled by a function of the place: ten times as quick as the arrays' own `from`. */
function filled(Numbers, length, at) {
  const numbers = new Numbers(length);
  for (let n = 0; n < length; n++) numbers[n] = at(n);
  return numbers;
}

/** Return the value of each code; colours have none. */
function valuesOf(layer) {
  if (layer.bytes === 4) return null;
  if (layer.table) return Float64Array.from(layer.table, (value) => value ?? NaN);
  const values = filled(Float64Array, 256 ** layer.bytes, (code) => layer.offset + layer.slope * code);
  if (layer.hasNan) values[0] = NaN;
  return values;
}

/** Round halves to even numbers, as numpy does. */
function round(number) {
  const below = Math.floor(number);
  const rest = number - below;
  return rest === 0.5 ? below + (below % 2) : below + (rest > 0.5);
}

/** Return the number, 0 to 255, of a value's colour in a window. */
function level(value, low, high) {
  if (!Number.isFinite(high - low)) [value, low, high] = [value / 2, low / 2, high / 2];
  return round(Math.min(Math.max((value - low) / (high - low), 0), 1) * 255);
}

/** Return a colour as canvases have it in memory: the bytes R, G, B, A. */
const rgba = (red, green, blue) => (red | (green << 8) | (blue << 16) | (255 << 24)) >>> 0;

/** Return the 256 colours of a colour map given as base64 of its bytes R, G, B, R, … */
function coloursOf(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Uint32Array.from({ length: bytes.length / 3 }, (_, n) => rgba(...bytes.subarray(3 * n, 3 * n + 3)));
}

/** Return the colour of each value. */
const colourEach = (values, colourOf) => filled(Uint32Array, values.length, (n) => colourOf(values[n]));

/** Return the colour of each code of an image. */
function imageLut(values, [low, high], colours, background) {
  const hole = rgba(...background);
  return colourEach(values, (value) => (Number.isNaN(value) ? hole : colours[level(value, low, high)]));
}

/** Return the colour of each code of a mask or of labels; 0 where it is clear. */
function labelLut(values, colours) {
  const count = colours.length;
  return colourEach(values, (value) =>
    value === 0 || !Number.isFinite(value) ? 0 : colours[(((value - 1) % count) + count) % count],
  );
}

/** Return the colour of each code of a map around 0; 0 where it is clear. */
function mapLut(values, limit, threshold, colours) {
  return colourEach(values, (value) =>
    value !== 0 && Math.abs(value) >= threshold ? colours[level(value, -limit, limit)] : 0,
  );
}

/** Return the mean of two colours, `share` of the second. */
function mixed(one, other, share) {
  const mix = (shift) => round(((other >>> shift) & 255) * share + ((one >>> shift) & 255) * (1 - share));
  return rgba(mix(0), mix(8), mix(16));
}

/** Cut one plane: call `put(pixel, code)` for each of its pixels, from the upper left, row by row. */
function eachPixel({ codes, rows, columns, base, outside }, put) {
  let pixel = 0;
  for (const row of rows) {
    const start = row < 0 ? -1 : base + row;
    for (const column of columns) put(pixel++, start < 0 || column < 0 ? outside : codes[start + column]);
  }
}

/** Paint an image in the colours of a table. Written out, as this loop is what a key press waits for. */
function paint(pixels, { codes, rows, columns, base, outside }, lut) {
  const width = columns.length;
  for (let row = 0, pixel = 0; row < rows.length; row++, pixel += width) {
    const start = base + rows[row];
    if (rows[row] < 0) pixels.fill(lut[outside], pixel, pixel + width);
    else
      for (let n = 0; n < width; n++)
        pixels[pixel + n] = lut[columns[n] < 0 ? outside : codes[start + columns[n]]];
  }
}

/** Return the colour of each code of a Jacobian determinant: white is 1, red larger, blue smaller, yellow folded. */
function jacobianLut(values, limit, colours, background) {
  return colourEach(values, (value) => {
    if (Number.isNaN(value)) return rgba(...background);
    return value <= 0 ? rgba(...FOLDED) : colours[level(value, 1 - limit, 1 + limit)];
  });
}

/** Paint colours, transparent ones over the background. */
function paintColours(pixels, cut, background) {
  const behind = rgba(...background);
  eachPixel(cut, (pixel, code) => (pixels[pixel] = mixed(behind, code, (code >>> 24) / 255)));
}

/** Lay colours over a painted plane, wherever they are not clear. */
function layOver(pixels, cut, lut, opacity) {
  eachPixel(cut, (pixel, code) => {
    if (lut[code]) pixels[pixel] = mixed(pixels[pixel], lut[code], opacity);
  });
}

/** Paint the grey levels of a smaller picture, as they come while a registration runs; 0 is no value. */
function paintScaled(pixels, plane, { rows, columns, grey }, background) {
  for (let row = 0, pixel = 0; row < plane.rows; row++) {
    const start = Math.floor((row / plane.rows) * rows) * columns;
    for (let column = 0; column < plane.columns; column++) {
      const value = grey.getUint8(start + Math.floor((column / plane.columns) * columns));
      pixels[pixel++] = value ? rgba(value, value, value) : rgba(...background);
    }
  }
}

/** Trace the lines of a grid through its displaced nodes. */
function drawGrid(context, { rows, columns }, at) {
  const line = (points) =>
    points.forEach((point, n) => (n ? context.lineTo(...point) : context.moveTo(...point)));
  const numbers = (count) => Array.from({ length: count }, (_, n) => n);
  for (const row of numbers(rows)) line(numbers(columns).map((column) => at(row, column)));
  for (const column of numbers(columns)) line(numbers(rows).map((row) => at(row, column)));
}

/** Trace an arrow from each node to its displaced place. */
function drawArrows(context, { rows, columns }, at, from, head) {
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const [x0, y0] = from(row, column);
      const [x1, y1] = at(row, column);
      const length = Math.hypot(x1 - x0, y1 - y0);
      if (length < 0.5) continue;
      const size = Math.min(head, length / 2) / length;
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      for (const side of [1, -1])
        (context.moveTo(x1, y1),
          context.lineTo(
            x1 - size * (x1 - x0 + side * (y1 - y0) * 0.6),
            y1 - size * (y1 - y0 - side * (x1 - x0) * 0.6),
          ));
    }
}

// ---- The geometry of a plane ---------------------------------------------------------------------------

/** One plane of the scene: which voxel lies under which pixel. */
class Plane {
  constructor(scene, plane) {
    Object.assign(this, plane);
    this.rows = scene.shape[this.up];
    this.columns = scene.shape[this.along];
    this.height = this.rows * this.pixel[0];
    this.width = this.columns * this.pixel[1];
  }

  /** Return [row, column], with fractions, of voxel coordinates. */
  pixelOf(vox) {
    return [
      this.flipUp ? this.rows - 1 - vox[this.up] : vox[this.up],
      this.flipAlong ? this.columns - 1 - vox[this.along] : vox[this.along],
    ];
  }

  /** Return the voxel coordinates under [row, column], in the slice of `vox`. */
  voxelAt([row, column], vox) {
    const found = [...vox];
    found[this.up] = this.flipUp ? this.rows - 1 - row : row;
    found[this.along] = this.flipAlong ? this.columns - 1 - column : column;
    return found;
  }

  /** Return where a layer holds the pixels of this plane through `index`. */
  cut(layer, codes, index, time) {
    const strides = [1, layer.shape[0], layer.shape[0] * layer.shape[1]];
    const place = (axis, voxel) => {
      const n = Math.floor((voxel - layer.start[axis]) / layer.step);
      return n >= 0 && n < layer.shape[axis] ? n * strides[axis] : -1;
    };
    const line = (axis, count, flip) =>
      Int32Array.from({ length: count }, (_, n) => place(axis, flip ? count - 1 - n : n));
    const slice = place(this.across, index[this.across]);
    const moment = Math.min(time, layer.shape[3] - 1) * strides[2] * layer.shape[2];
    return {
      codes,
      rows: slice < 0 ? new Int32Array(this.rows).fill(-1) : line(this.up, this.rows, this.flipUp),
      columns: line(this.along, this.columns, this.flipAlong),
      base: slice + moment,
      outside: layer.outside,
    };
  }
}

/** Return the code of one voxel of a layer. */
function codeAt(layer, codes, index, time) {
  let place = Math.min(time, layer.shape[3] - 1);
  for (const axis of [2, 1, 0]) {
    const n = Math.floor((index[axis] - layer.start[axis]) / layer.step);
    if (n < 0 || n >= layer.shape[axis]) return layer.outside;
    place = place * layer.shape[axis] + n;
  }
  return codes[place];
}

/**
 * Return about which share of a side it is zoomed, so that `part` of it stays where it is seen: under the mouse that
 * has just clicked there. Only what would lie beyond the edge is brought in.
 */
function originOf(part, before = part, zoomBefore = 1, zoom = 1) {
  if (zoom === 1) return part;
  const seen = part * zoomBefore - before * (zoomBefore - 1);
  const kept = Math.min(Math.max(seen, 0), 1);
  return Math.min(Math.max((part * zoom - kept) / (zoom - 1), 0), 1);
}

/** Return an affine, (4, 4), applied to a point. */
const apply = (affine, point) =>
  [0, 1, 2].map((row) => affine[row][3] + point.reduce((sum, x, n) => sum + affine[row][n] * x, 0));

/** Return the largest of 1, 2, 5 times a power of ten that is not above `longest`. */
function roundLength(longest) {
  const power = 10 ** Math.floor(Math.log10(longest));
  return Math.max(...[1, 2, 5].map((step) => step * power).filter((length) => length <= longest));
}

/** Return the lowest and the highest end of named windows. */
const rangeOf = (windows) => [
  Math.min(...windows.map((window) => window[1])),
  Math.max(...windows.map((window) => window[2])),
];

/** Return a value in at most six digits. */
const short = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));

/** Return a window's ends, level and width to a thousandth of the width or whole, whichever is finer. */
function windowText(low, high, named) {
  const width = high - low;
  if (!Number.isFinite(width)) return [low, high].map((end) => Number(end.toPrecision(4))).join(" to ");
  const digits = Math.min(100, Math.max(0, 3 - Math.floor(Math.log10(width))));
  const [from, to, level, wide] = [low, high, low / 2 + high / 2, width].map((value) =>
    Number(value.toFixed(digits)),
  );
  return `${from} to ${to}` + (named ? ` (level ${level}, width ${wide})` : "");
}

// ---- Small parts of the page ---------------------------------------------------------------------------

/** Make an element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Write a text, unless it stands there already: the browser would lay out the page anew. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Write a text in parts, each of which is seen whole or, where there is no room, not at all. */
function writeParts(element, parts) {
  const there = element.children;
  if (there.length === parts.length) return parts.forEach((part, n) => write(there[n], part));
  element.replaceChildren(...parts.flatMap((part, n) => [...(n ? ["  "] : []), make("span", {}, part)]));
}

/** Make an SVG element. */
function svg(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Tell JupyterLab's shortcuts from single keys, where "d d" would delete the cell: Shift+Enter may run it. */
const isShortcut = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");

let count = Math.floor(Math.random() * 2 ** 40); // for ids: on a website each viewer runs a module of its own

/** Let an input be used, or not. */
const usable = (input) => (on) => (input.disabled = !on);

/** Make a labelled native range input. `text` says a value in words. */
function makeSlider(name, { min, max, step }, text, onInput) {
  const id = `slicewise-${count++}`;
  const input = make("input", { type: "range", id, min, max, step });
  const output = make("output", { for: id });
  input.addEventListener("input", () => onInput(input.valueAsNumber));
  const range = (low, high) => {
    if (Number(input.min) !== low) input.min = low;
    if (Number(input.max) !== high) input.max = high;
  };
  const show = (value) => {
    const words = text(value);
    range(Math.min(value, Number(input.min)), Math.max(value, Number(input.max)));
    if (input.valueAsNumber !== value) input.value = value;
    if (output.value === words) return;
    output.value = words;
    input.setAttribute("aria-valuetext", words);
  };
  return { parts: [make("label", { for: id }, name), input, output], show, range, usable: usable(input) };
}

/** Make a labelled native list. */
function makeList(name, options, onInput) {
  const id = `slicewise-${count++}`;
  const select = make("select", { id }, ...options.map((option) => new Option(option)));
  select.addEventListener("input", () => onInput(select.value));
  const show = (value) => {
    if (![...select.options].some((option) => option.value === value)) select.add(new Option(value));
    if (select.value !== value) select.value = value;
  };
  const offer = (there) => {
    for (const option of select.options) option.disabled = !there.includes(option.value);
  };
  return { parts: [make("label", { for: id }, name), select], show, offer, usable: usable(select) };
}

// ---- The viewer ----------------------------------------------------------------------------------------

class Viewer {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.zoom = 1;
    this.luts = {};
    this.hidden = { crosshair: false, overlay: false };
    this.untold = {}; // what has been set here and the kernel has not heard of yet
    this.listeners = [];
    this.observer = new ResizeObserver(() => this.layOut());
    const listen = (name, react) => {
      model.on(name, react);
      this.listeners.push([name, react]);
    };
    listen("change:_scene", () => this.begin());
    listen("change:_voxels", () => this.load());
    listen("change:index", () => this.follow("index"));
    listen("change:cursor_vox", () => this.follow("cursor_vox"));
    listen("change:cursor_mm", () => this.follow("cursor_mm"));
    const looks = ["window", "window_moving", "cmap", "_cmaps", "opacity", "threshold", "mode", "mix"];
    for (const name of ["time", "shown", "drawn", ...looks])
      listen(`change:${name}`, () => {
        this.keep(name);
        this.correct(name);
        this.schedule();
      });
    listen("change:_frame", () => this.schedule());
    listen("change:_history", () => this.drawCurve());
    listen("msg:custom", (message, buffers) => this.hear(message, buffers));
    this.begin();
  }

  close() {
    for (const [name, react] of this.listeners) this.model.off(name, react);
    this.observer.disconnect();
    clearInterval(this.playing);
    clearInterval(this.flickering);
    clearTimeout(this.wording);
    clearTimeout(this.resting);
    clearTimeout(this.speaking);
    this.tellNow();
    cancelAnimationFrame(this.frame);
    this.layers = this.packed = this.answer = this.scene = null;
    this.el.replaceChildren(); // JupyterLab never lets go of a closed view: leave nothing in it that holds voxels
  }

  get(name) {
    return this.model.get(name);
  }

  /** Set what the learner has chosen. */
  set(state) {
    Object.assign(this.untold, state);
    this.put(state);
  }

  put(state) {
    for (const [name, value] of Object.entries(state)) this.model.set(name, value);
    this.tellWithin(WORDS_MS);
  }

  /** Keep what has been set here, though the kernel's echo of an earlier value comes: once, as links set it, too. */
  keep(name) {
    const value = this.untold[name];
    if (value === undefined || value === this.get(name)) return;
    delete this.untold[name];
    this.model.set(name, value);
  }

  /** Bring a value that a linked widget has set into its range: Python would refuse it, and show another one. */
  correct(name) {
    const { times, windows } = this.scene ?? {};
    const value = this.get(name);
    const most = { time: times - 1, opacity: 1, mix: 1, threshold: Number.MAX_VALUE }[name];
    if (most >= 0) {
      const allowed = Math.min(Math.max(value, 0), most);
      if (allowed !== value) this.put({ [name]: allowed });
    } else if (name.startsWith("window") && windows?.length && !(value[0] < value[1])) {
      const [low, high] = rangeOf(windows);
      this.put({ [name]: [value[0], value[0] + (high - low) / 500] });
    }
  }

  /** Tell the kernel what has been set, but not before the planes are painted. */
  tellWithin(ms) {
    const due = performance.now() + ms;
    if (this.telling && this.due <= due) return;
    clearTimeout(this.telling);
    this.due = due;
    this.telling = setTimeout(() => this.tellNow(), ms);
  }

  /** Tell the kernel what it has not heard of yet. */
  tellNow() {
    if (!this.telling) return;
    clearTimeout(this.telling);
    this.telling = null;
    this.untold = {};
    this.model.save_changes();
  }

  /** Build the page for a scene, and draw what is there of it: the planes seen first, or all voxels. */
  begin() {
    const scene = this.get("_scene");
    this.scene = scene;
    this.layers = this.packed = null;
    this.answer = this.rested = this.modeShown = this.colourBarState = null;
    this.luts = {};
    if (!scene?.roles) return;
    this.planes = scene.planes.map((plane) => new Plane(scene, plane));
    this.compares = Boolean(scene.modes);
    this.registers = Boolean(scene.images);
    this.build();
    this.drawn = this.load();
    const first = this.get("_first");
    if (first?.details) this.hear(first);
  }

  /** Unpack the voxels, once they are there, and draw. */
  async load() {
    const { scene } = this;
    const { layers, note } = this.get("_voxels") ?? {};
    if (!layers || layers === this.packed) return;
    this.packed = layers;
    this.note.textContent = note ?? "";
    const codes = await Promise.all(layers.map(codesOf));
    if (this.scene !== scene || this.packed !== layers) return; // closed, or replaced meanwhile
    this.layers = layers.map((layer, n) => ({
      ...layer,
      role: scene.roles[n],
      codes: codes[n],
      values: valuesOf(layer),
    }));
    this.draw();
  }

  // -- The page --

  build() {
    const { scene } = this;
    const focusable = () => [...this.el.querySelectorAll("canvas[tabindex], input, select, button, summary")];
    const focused = focusable().indexOf(document.activeElement);
    const shown = this.compares ? [0, 1] : [0];
    this.stacked = false;
    this.rows = shown.map((n) => this.planes.map((plane) => this.buildPanel(plane, n)));
    this.panels = this.rows.flat();
    this.boxes = this.rows.map((row) =>
      make("div", { class: "slicewise-planes" }, ...row.map(({ figure }) => figure)),
    );
    this.scaleBar = make("span", { class: "slicewise-bar" });
    this.scaleText = make("span");
    const foot = make("div", { class: "slicewise-foot" }, make("span", {}, scene.convention ?? ""));
    if (scene.limit) foot.append((this.legend = this.buildColourBar()));
    foot.append(make("span", { class: "slicewise-scale" }, this.scaleText, this.scaleBar));
    const stage = make(
      "div",
      { class: "slicewise-stage" },
      make("div", { class: "slicewise-rows" }, ...this.boxes),
      foot,
    );
    this.note = make("div", { class: "slicewise-note" });
    this.place = make("div");
    this.value = make("div");
    this.readout = make("div", { class: "slicewise-readout" }, this.place, this.value);
    this.spoken = make("div", { class: "slicewise-spoken", "aria-live": "polite" });
    const [choices, controls] = this.buildControls();
    this.root = make(
      "div",
      { class: "slicewise-viewer", role: "group", "aria-label": scene.subject },
      ...(scene.title ? [make("div", { class: "slicewise-title" }, scene.title)] : []),
      ...choices,
      stage,
      ...(this.registers ? [this.buildCurve()] : []),
      this.note,
      this.readout,
      this.spoken,
      controls,
      this.buildHelp(),
    );
    this.root.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    // What comes next may be a cell that reads the place.
    this.root.addEventListener("focusout", () => this.tellNow());
    this.root.addEventListener("keydown", (event) =>
      isShortcut(event) ? this.tellNow() : event.stopPropagation(),
    );
    this.el.replaceChildren(this.root);
    this.observer.disconnect();
    this.observer.observe(this.root);
    // All that takes its place before the planes are drawn.
    this.showControls();
    if (this.legend) this.drawColourBar();
    if (this.compares) this.showMode();
    else this.layOut();
    // A new scene in a viewer, such as a registration's result, has the same parts in the same order.
    const next = focusable()[focused];
    (next?.disabled ? this.panels[0].canvas : next)?.focus({ preventScroll: true });
  }

  /** Build one plane of layer `n`: caption, letters, canvas, crosshair. */
  buildPanel(plane, n) {
    const { scene } = this;
    const canvas = make("canvas", {
      class: "slicewise-plane",
      "data-plane": plane.name,
      width: plane.columns,
      height: plane.rows,
      tabindex: 0,
      role: "application",
      "aria-roledescription": "image plane",
      "data-layer": n,
      "aria-label": this.nameOf(plane),
    });
    const across = make("span", { class: "slicewise-line slicewise-across" });
    const down = make("span", { class: "slicewise-line slicewise-down" });
    const zoomed = make("div", { class: "slicewise-zoomed" }, canvas);
    const vectors = this.registers
      ? make("canvas", { class: "slicewise-vectors", "aria-hidden": "true" })
      : null;
    if (vectors) zoomed.append(vectors);
    const frame = make("div", { class: "slicewise-frame" }, zoomed, across, down);
    const letters = Object.entries(plane.letters ?? {}).map(([side, letter]) =>
      make("span", { class: `slicewise-letter slicewise-${side}`, "aria-hidden": "true" }, letter),
    );
    const caption = make("div", { class: "slicewise-caption" });
    const figure = make(
      "div",
      { class: "slicewise-panel", style: `order: ${this.planes.indexOf(plane)}` },
      caption,
      make("div", { class: "slicewise-surround" }, frame, ...letters),
    );
    const context = canvas.getContext("2d");
    const picture = context.createImageData(plane.columns, plane.rows);
    const panel = { plane, n, canvas, context, picture, across, down, zoomed, vectors, caption, figure };
    panel.pixels = new Uint32Array(picture.data.buffer);
    canvas.addEventListener("keydown", (event) => this.onKey(event, panel));
    canvas.addEventListener("pointerdown", (event) => this.onPointer(event, panel));
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault(); // the right button sets the window
      event.stopPropagation();
    });
    return panel;
  }

  /** Return what a plane is called, for those who do not see it. */
  nameOf(plane) {
    return this.scene.picture ? "picture" : `${plane.name} plane`;
  }

  /** Build the colours of a map with the values at their ends. */
  buildColourBar() {
    this.colourBar = make("canvas", {
      class: "slicewise-colours",
      width: 256,
      height: 1,
      "aria-hidden": "true",
    });
    this.ends = [make("span"), make("span")];
    return make("span", {}, this.ends[0], this.colourBar, this.ends[1]);
  }

  /** Show which values the colours of a map, a difference or a Jacobian stand for. */
  drawColourBar() {
    const { limit, limitJacobian, mapColours } = this.scene;
    const shown = this.compares ? this.get("mode") : this.registers ? this.imageShown() : "map";
    this.legend.hidden = !["map", "difference", "Jacobian"].includes(shown);
    const state = `${shown} ${this.get("threshold")}`;
    if (this.legend.hidden || state === this.colourBarState) return;
    this.colourBarState = state;
    const [centre, reach] = shown === "Jacobian" ? [1, limitJacobian] : [0, limit];
    const [from, to] = this.scene.signs ?? [-1, 1]; // a map may have one only
    const name = {
      map: "",
      difference: `fixed − ${this.registers ? "warped" : "moving"}: `,
      Jacobian: "Jacobian: ",
    }[shown];
    const [low, high] = [from, to].map((sign) => short(Number((centre + sign * reach).toPrecision(3))));
    this.ends[0].textContent = `${name}${low}`;
    this.ends[1].textContent = high;
    const values = Array.from({ length: 256 }, (_, n) => reach * (from + ((to - from) * n) / 255));
    const lut = mapLut(values, reach, shown === "map" ? this.get("threshold") : 0, coloursOf(mapColours));
    const context = this.colourBar.getContext("2d");
    const bar = context.createImageData(256, 1);
    new Uint32Array(bar.data.buffer).set(lut);
    context.putImageData(bar, 0, 0);
  }

  /** Build what chooses the image, to stand above it as its height depends on the choice, and all else. */
  buildControls() {
    const { scene } = this;
    this.controls = [];
    const choices = [];
    const moves = [];
    const looks = [];
    const add = (column, control, name) => {
      column.push(make("div", { class: "slicewise-control" }, ...control.parts));
      this.controls.push(() => control.show(name()));
    };
    if (scene.times > 1) {
      const words = (value) => `${value} of ${scene.times - 1}`;
      const range = { min: 0, max: scene.times - 1, step: 1 };
      const slider = makeSlider("time point", range, words, (time) => this.set({ time }));
      add(moves, slider, () => this.get("time"));
      this.playButton = make("button", { type: "button", "aria-pressed": "false" }, "▶ play");
      this.playButton.addEventListener("click", () => this.play(!this.playing));
      moves.push(make("div", { class: "slicewise-control" }, make("span"), this.playButton));
    }
    scene.axes.forEach(({ name, size }, axis) => {
      if (size < 2) return;
      const words = (value) => `${value} of ${size - 1}`;
      const move = (value) => this.moveTo(this.get("index").map((n, other) => (other === axis ? value : n)));
      add(
        moves,
        makeSlider(name, { min: 0, max: size - 1, step: 1 }, words, move),
        () => this.get("index")[axis],
      );
      moves.at(-1).dataset.across = axis;
    });
    const share = (column, name, trait) => {
      const percent = (value) => `${Math.round(value * 100)} %`;
      const slider = makeSlider(name, { min: 0, max: 1, step: 0.05 }, percent, (value) =>
        this.set({ [trait]: value }),
      );
      add(column, slider, () => this.get(trait));
    };
    if (this.registers) {
      const image = makeList("image", scene.images, (shown) => this.set({ shown }));
      add(choices, image, () => (image.offer(this.imagesThere()), this.imageShown()));
      const drawing = makeList("drawn over it", scene.drawings, (drawn) => this.set({ drawn }));
      add(choices, drawing, () => (drawing.offer(this.drawingsThere()), this.drawnOver()));
    } else if (this.compares) {
      add(
        choices,
        makeList("compare", scene.modes, (mode) => this.set({ mode })),
        () => this.get("mode"),
      );
      share(choices, "moving share", "mix");
      this.shareRow = choices.at(-1);
      this.holdButton = make("button", { type: "button", "aria-pressed": "false" }, "❚❚ hold");
      this.holdButton.addEventListener("click", () => this.flicker(!this.flickering));
      this.holdRow = make("div", { class: "slicewise-control" }, make("span"), this.holdButton);
      choices.push(this.holdRow);
    } else if (scene.roles.length > 1) share(looks, "overlay opacity", "opacity");
    if (scene.roles[1] === "map") {
      const range = { min: 0, max: scene.limit, step: scene.limit / 200 };
      const words = (value) => short(Number(value.toPrecision(3)));
      const name = scene.signs[0] ? "threshold ±" : "threshold";
      const slider = makeSlider(name, range, words, (threshold) => this.set({ threshold }));
      add(looks, slider, () => this.get("threshold"));
    }
    if (scene.windows.length) this.addWindowControls(looks, add);
    const times = (value) => `${Number(value.toPrecision(2))} ×`;
    const zoom = makeSlider("zoom", { min: 1, max: MOST_ZOOM, step: 0.1 }, times, (zoom) =>
      this.setZoom(zoom),
    );
    add(looks, zoom, () => this.zoom);
    this.moves = moves;
    this.movesColumn = make("div", {}, ...moves);
    const columns = [this.movesColumn, make("div", {}, ...looks)];
    const block = (parts) => make("div", { class: "slicewise-controls" }, ...parts);
    return [
      choices.length ? [block(choices)] : [],
      block(columns.filter((column) => column.childElementCount)),
    ];
  }

  /** Add the named windows, the sliders of the windows' ends, and the colour maps. */
  addWindowControls(column, add) {
    const { windows, windowsMoving } = this.scene;
    const traits = { window: windows, ...(windowsMoving && { window_moving: windowsMoving }) };
    // Of an image that has no window of the name, the automatic one.
    const endsOf = (list, name) => (list.find(([other]) => other === name) ?? list[0]).slice(1);
    const each = (name) => Object.entries(traits).map(([trait, list]) => [trait, endsOf(list, name)]);
    const choose = (name) => this.set(Object.fromEntries(each(name)));
    const isChosen = ([name]) =>
      each(name).every(([trait, ends]) => String(ends) === String(this.get(trait)));
    const some = () => this.windowsSeen().length > 0;
    const named = () => (list.usable(some()), windows.find(isChosen)?.[0] ?? BY_HAND);
    const list = makeList("window", [...windows.map(([name]) => name), BY_HAND], choose);
    list.offer(windows.map(([name]) => name)); // the last is not chosen: it says that the sliders were moved
    add(column, list, named);
    this.addEnds(column, add, "window", windows, windowsMoving ? "fixed " : "");
    if (windowsMoving) this.addEnds(column, add, "window_moving", windowsMoving, "moving ");
    const colours = makeList("colour map", Object.keys(this.get("_cmaps")), (cmap) => this.set({ cmap }));
    const live = () => this.registers && this.get("_frame") && this.imageShown() === "warped"; // in greys
    add(column, colours, () => (colours.usable(some() && !live()), this.get("cmap")));
  }

  /** Add the sliders of a window's two ends. */
  addEnds(column, add, trait, windows, whose) {
    const [min, max] = rangeOf(windows);
    const step = max / 500 - min / 500 || Number.MIN_VALUE;
    const words = (value) => short(Number(value.toPrecision(4)));
    const setEnd = (end) => (value) => {
      const window = [...this.get(trait)];
      window[end] = value;
      if (window[0] >= window[1]) window[1 - end] = end ? value - step : value + step;
      this.set({ [trait]: window });
    };
    ["from", "to"].forEach((name, end) => {
      const slider = makeSlider(whose + name, { min, max, step: "any" }, words, setEnd(end));
      add(column, slider, () => {
        const [low, high] = this.get(trait);
        slider.usable(this.isSeen(trait));
        slider.range(Math.min(min, low), Math.max(max, high)); // of both ends, so that they can be compared
        return this.get(trait)[end];
      });
    });
  }

  buildHelp() {
    const rows = [
      ...HELP,
      ...(this.scene.times > 1 ? TIME_HELP : []),
      ...(this.scene.roles.length > 1 && !this.compares && !this.registers ? OVERLAY_HELP : []),
      ...(this.compares ? COMPARE_HELP : []),
      ...(this.registers ? REGISTRATION_HELP : []),
    ].map(([keys, words]) => make("tr", {}, make("th", { scope: "row" }, keys), make("td", {}, words)));
    return make(
      "details",
      { class: "slicewise-help" },
      make("summary", {}, "Keys, mouse and touch"),
      make("table", {}, make("tbody", {}, ...rows)),
      make("p", {}, MOUSE_HELP),
      make("p", {}, TOUCH_HELP),
    );
  }

  /** Size the planes: on one scale, side by side where there is room. */
  layOut() {
    if (!this.scene?.roles) return;
    this.drawCurve();
    const room = this.root.clientWidth;
    this.reserve(room !== this.room);
    this.room = room;
    const stacked = room < NARROW;
    this.stack(stacked);
    const apart = this.apart();
    const going = apart ? null : this.panels.find(({ n, canvas }) => n && canvas === document.activeElement);
    if (going) this.panels.find(({ plane }) => plane === going.plane).canvas.focus({ preventScroll: true });
    this.boxes[1]?.toggleAttribute("hidden", !apart);
    // Two images of one plane each stand beside each other, too.
    const inOneRow = apart && this.planes.length === 1 ? 2 : this.planes.length;
    this.boxes[0].parentElement.style.flexDirection = inOneRow === 2 && !stacked ? "row" : "column";
    const widths = Array.from({ length: inOneRow }, (_, n) => this.planes[n % this.planes.length].width);
    const broad = stacked ? Math.max(...widths) : widths.reduce((sum, width) => sum + width, 0);
    const margins = 2 * MARGIN * (stacked ? 1 : inOneRow);
    const high = Math.max(...this.planes.map(({ height }) => height));
    this.scale = Math.min((room - margins) / broad, HIGHEST[inOneRow] / high);
    if (!(this.scale > 0)) return; // not in the page yet
    for (const box of this.boxes) box.style.flexDirection = stacked ? "column" : "row";
    for (const { plane, canvas } of this.panels) {
      canvas.style.width = `${plane.width * this.scale}px`;
      canvas.style.height = `${plane.height * this.scale}px`;
    }
    this.showZoom();
  }

  /** Keep the room of the longest read-out so far, so that the sliders below stay under the hand. */
  reserve(anew) {
    const { style } = this.readout;
    if (anew) style.minHeight = "";
    style.minHeight = `${this.readout.offsetHeight}px`;
  }

  /** Where planes stand one under the other, let the sliders that turn them, and time, stand right below. */
  stack(stacked) {
    if (stacked === this.stacked) return;
    this.stacked = stacked;
    this.boxes[0].parentElement.classList.toggle("slicewise-stacked", stacked);
    for (const row of this.moves) {
      const { across } = row.dataset; // of time there is none
      const panel = across
        ? this.panels.find(({ plane }) => plane.across === Number(across))
        : this.panels[0];
      (stacked && panel ? panel.figure : this.movesColumn).append(row);
    }
  }

  /** Tell whether two images stand side by side. */
  apart() {
    return this.compares && this.get("mode") === "side by side";
  }

  /** Zoom each plane, with its crosshair in sight, and keep the scale bar true. */
  showZoom() {
    const vox = this.get("cursor_vox");
    for (const panel of this.panels) {
      const { plane, canvas, zoomed } = panel;
      const [row, column] = plane.pixelOf(vox);
      panel.origin = [(column + 0.5) / plane.columns, (row + 0.5) / plane.rows].map((part, n) =>
        originOf(part, panel.origin?.[n], this.zoomed, this.zoom),
      );
      zoomed.style.transformOrigin = panel.origin.map((part) => `${100 * part}%`).join(" ");
      zoomed.style.transform = this.zoom === 1 ? "none" : `scale(${this.zoom})`;
      const large = Math.min(...plane.pixel) * this.scale * this.zoom * devicePixelRatio;
      canvas.style.imageRendering = large < 1 ? "auto" : "pixelated";
      this.drawCrosshair(panel);
    }
    this.zoomed = this.zoom;
    const length = roundLength(150 / (this.scale * this.zoom));
    this.scaleBar.style.width = `${length * this.scale * this.zoom}px`;
    this.scaleText.textContent = `${length} ${this.scene.unit}`;
    if (this.registers && this.drawnAt !== `${this.scale} ${this.zoom}`) {
      this.drawnAt = `${this.scale} ${this.zoom}`;
      this.schedule(); // the lines, for the new size
    }
  }

  // -- Drawing --

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  /** Draw all that is seen. */
  draw() {
    if (!this.layers && !this.answers()) return;
    this.drawPlanes();
    this.showWords();
  }

  /** Draw the planes, but not those whose pixels a move has left as they were. */
  drawPlanes(hasChanged = () => true) {
    this.refreshLuts();
    if (this.compares) this.showMode();
    if (this.legend) this.drawColourBar();
    for (const panel of this.panels) {
      if (panel.n && !this.apart()) continue;
      if (hasChanged(panel.plane)) {
        this.drawPlane(panel);
        panel.context.putImageData(panel.picture, 0, 0);
      }
      if (this.zoom === 1) this.drawCrosshair(panel);
    }
    if (this.zoom !== 1) this.showZoom();
  }

  /** Write all that stands around the planes. */
  showWords() {
    for (const panel of this.panels) if (!panel.n || this.apart()) this.writeCaption(panel);
    this.showControls();
    this.showReadout();
    this.rest();
  }

  /** Show the controls' values. Where the one in use cannot be used any more, the keys go to a plane. */
  showControls() {
    const used = document.activeElement;
    for (const show of this.controls) show();
    if (used?.disabled && this.root.contains(used)) this.panels[0].canvas.focus({ preventScroll: true });
  }

  /** Make the tables from codes to colours anew, where what they depend on has changed. */
  refreshLuts() {
    const keep = (name, key, layer) => {
      if (layer.values && this.luts[name]?.key !== key) this.luts[name] = { key, lut: this.lutOf(layer) };
    };
    const look = ["window", "window_moving", "cmap", "threshold"].map((name) => this.get(name)).join(" ");
    this.layers?.forEach((layer, n) => keep(n, look, layer));
    this.answer?.details.forEach((planes, n) =>
      planes.forEach((detail, m) => keep(`${n} ${m}`, `${this.answer.number} ${look}`, detail)),
    );
  }

  /** Return the colour of each code of a layer. */
  lutOf({ role, values }) {
    const { scene } = this;
    const { limit, background, labelColours, mapColours } = scene;
    if (role === "labels") return labelLut(values, coloursOf(labelColours));
    if (role === "jacobian")
      return jacobianLut(values, scene.limitJacobian, coloursOf(mapColours), background);
    if (role === "map") return mapLut(values, limit, this.get("threshold"), coloursOf(mapColours));
    const window = this.get(role === "image" ? "window" : "window_moving");
    return imageLut(values, window, coloursOf(this.get("_cmaps")[this.get("cmap")]), background);
  }

  drawPlane(panel) {
    const { plane, pixels, n } = panel;
    if (this.registers) return this.drawRegistration(panel);
    this.drawImage(n, plane, pixels);
    if (this.scene.roles.length < 2) return;
    if (this.compares) {
      if (!this.apart()) this.drawBoth(plane, pixels);
    } else if (!this.hidden.overlay) {
      const { cut, lut } = this.cut(1, plane);
      layOver(pixels, cut, lut, this.get("opacity"));
    }
  }

  drawImage(n, plane, pixels) {
    const { cut, lut } = this.cut(n, plane);
    if (!lut) paintColours(pixels, cut, this.scene.background);
    else paint(pixels, cut, lut);
  }

  /** Draw the moving image into the fixed one's pixels, as the mode says. */
  drawBoth(plane, pixels) {
    const mode = this.get("mode");
    if (mode === "difference") return this.drawDifference(1, plane, pixels);
    const moving = new Uint32Array(pixels.length);
    this.drawImage(1, plane, moving);
    const size = Math.max(1, Math.ceil(Math.max(plane.rows, plane.columns) / TILES));
    const tile = (pixel) =>
      Math.floor(pixel / plane.columns / size) + Math.floor((pixel % plane.columns) / size);
    const chosen = {
      blend: (pixel) => mixed(pixels[pixel], moving[pixel], this.get("mix")),
      checkerboard: (pixel) => (tile(pixel) % 2 ? moving : pixels)[pixel],
      flicker: (pixel) => (this.flickered ? moving : pixels)[pixel],
    }[mode];
    for (let pixel = 0; pixel < pixels.length; pixel++) pixels[pixel] = chosen(pixel);
  }

  /** Draw the fixed image minus layer `n`. */
  drawDifference(n, plane, pixels) {
    const [fixed, moving] = [0, n].map((layer) => this.cut(layer, plane));
    const colours = coloursOf(this.scene.mapColours);
    const { limit } = this.scene;
    const difference = new Float64Array(pixels.length);
    eachPixel(fixed.cut, (pixel, code) => (difference[pixel] = fixed.values[code]));
    eachPixel(moving.cut, (pixel, code) => (difference[pixel] -= moving.values[code]));
    pixels.set(imageLut(difference, [-limit, limit], colours, this.scene.background));
  }

  /** Draw the image chosen of a registration, or while it runs the last that came, and the field over it. */
  drawRegistration(panel) {
    const { plane, pixels } = panel;
    const { names } = this.scene;
    const shown = this.imageShown();
    const live = this.get("_frame")?.planes[this.planes.indexOf(plane)];
    if (live && shown === "warped") paintScaled(pixels, plane, live, this.scene.background);
    else if (shown === "difference") this.drawDifference(names.indexOf("warped"), plane, pixels);
    else this.drawImage(names.indexOf(shown), plane, pixels);
    this.drawVectors(panel, live);
  }

  /** Return which images of a registration can be seen: while it runs the warped one, too, and at its end all. */
  imagesThere() {
    const { images, names } = this.scene;
    if (this.get("_frame")) return ["fixed", "moving", "warped"]; // also of a run that follows on a result
    return names.includes("warped") ? images : ["fixed", "moving"];
  }

  /** Return which image of a registration is seen: as long as the chosen one is not there, the one nearest to it. */
  imageShown() {
    const there = this.imagesThere();
    const shown = this.get("shown");
    return there.includes(shown) ? shown : there.includes("warped") ? "warped" : "moving";
  }

  /** Return what can be drawn over a registration's image: the update while it runs only. */
  drawingsThere() {
    const { drawings, names } = this.scene;
    if (this.get("_frame")) return drawings;
    return names.includes("warped") ? drawings.filter((name) => !name.startsWith("update")) : ["nothing"];
  }

  /** Return what is drawn over it. */
  drawnOver() {
    const drawn = this.get("drawn");
    return this.drawingsThere().includes(drawn) ? drawn : "nothing";
  }

  /** Return the voxel whose planes are seen: of a warped image that comes while it is made, that of its time. */
  indexShown() {
    const frame = this.registers && this.imageShown() === "warped" ? this.get("_frame") : null;
    return frame?.index ?? this.get("index");
  }

  /** Return which window a plane is drawn in. */
  windowOf({ n }) {
    const moving = this.compares ? n === 1 : this.registers && this.imageShown() !== "fixed";
    return moving ? "window_moving" : "window";
  }

  /** Return the windows through which something is seen, each with whose it is. */
  windowsSeen() {
    if (!this.scene.windows.length) return [];
    if (this.registers)
      return ["difference", "Jacobian"].includes(this.imageShown()) ? [] : [[this.windowOf({ n: 0 }), ""]];
    if (!this.compares) return [["window", ""]];
    const both = [
      ["window", "of fixed "],
      ["window_moving", "of moving "],
    ];
    return this.get("mode") === "difference" ? [] : both;
  }

  /** Tell whether something is seen through a window. */
  isSeen(trait) {
    return this.windowsSeen().some(([seen]) => seen === trait);
  }

  /** Return a field that came as bytes, as `field` does. */
  received({ x, y, at }) {
    const numbers = new Float32Array(at.buffer.slice(at.byteOffset, at.byteOffset + at.byteLength));
    return { rows: y.length, columns: x.length, at: numbers, x, y };
  }

  /** Draw the displaced grid or arrows. */
  drawVectors({ plane, canvas, vectors }, live) {
    const size = [canvas.clientWidth, canvas.clientHeight];
    const ratio = Math.min(devicePixelRatio * this.zoom, FINEST / Math.max(...size));
    const [width, height] = size.map((length) => Math.round(length * ratio));
    if (vectors.width !== width || vectors.height !== height) Object.assign(vectors, { width, height });
    const context = vectors.getContext("2d");
    context.clearRect(0, 0, width, height);
    const drawn = this.drawnOver();
    const coming = live?.[drawn === "update × 10" ? "update" : "displacement"];
    const field = coming ? this.received(coming) : live ? null : this.field(plane, drawn);
    if (!field || drawn === "nothing") return;
    const at = (row, column) => {
      const place = 2 * (row * field.columns + column);
      return [field.at[place] * width, field.at[place + 1] * height];
    };
    const fine = ratio / this.zoom; // as thin on the screen, however far it is zoomed in
    context.lineWidth = Math.max(1, fine * 0.9);
    context.strokeStyle = FIELD_COLOUR;
    context.beginPath();
    if (drawn === "grid") drawGrid(context, field, at);
    else
      drawArrows(
        context,
        field,
        at,
        (row, column) => [field.x[column] * width, field.y[row] * height],
        4 * fine,
      );
    context.stroke();
  }

  /** Return the displaced nodes of a plane, from the field that came with the result. */
  field(plane, drawn) {
    const first = this.scene.roles.indexOf("field");
    if (first === -1) return null;
    const components = [plane.along, plane.up].map((axis) => first + axis);
    const spacing = Math.max(1, Math.ceil(Math.max(plane.rows, plane.columns) / GRID_LINES));
    const places = (count) =>
      Array.from({ length: Math.floor((count - 1) / spacing) + 1 }, (_, n) => n * spacing);
    const [rows, columns] = [places(plane.rows), places(plane.columns)];
    const index = this.get("index");
    const signs = [plane.flipAlong ? -1 : 1, plane.flipUp ? -1 : 1];
    const at = new Float32Array(2 * rows.length * columns.length);
    let n = 0;
    for (const row of rows)
      for (const column of columns) {
        const vox = plane.voxelAt([row, column], index);
        const [right, down] = components.map((c, m) => {
          const layer = this.layers[c];
          return signs[m] * layer.values[codeAt(layer, layer.codes, vox, 0)];
        });
        at[n++] = (column + 0.5 + right) / plane.columns;
        at[n++] = (row + 0.5 + down) / plane.rows;
      }
    return {
      at,
      rows: rows.length,
      columns: columns.length,
      x: columns.map((column) => (column + 0.5) / plane.columns),
      y: rows.map((row) => (row + 0.5) / plane.rows),
    };
  }

  /** Build the place of the curve of the mean squared difference. */
  buildCurve() {
    this.curve = document.createElementNS(SVG, "svg");
    this.curve.setAttribute("class", "slicewise-curve");
    this.curve.setAttribute("role", "img");
    this.drawCurve();
    return this.curve;
  }

  /** Draw the mean squared difference of each iteration, level by level, on a logarithmic axis. */
  drawCurve() {
    const history = (this.get("_history") ?? []).filter(([, , msd]) => msd !== null); // which was no number
    if (!this.curve) return;
    this.curve.toggleAttribute("hidden", history.length < 2);
    if (history.length < 2) return;
    const { widest, height, left, right, top, bottom } = CURVE;
    const width = Math.min(widest, this.root?.clientWidth || widest); // so that its words are not made smaller
    this.curve.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const logs = history.map(([, , msd]) => Math.log10(Math.max(msd, Number.MIN_VALUE)));
    const [low, high] = [Math.min(...logs), Math.max(...logs) + 1e-9];
    const x = (n) => left + (n / (history.length - 1)) * (width - left - right);
    const y = (log) => height - bottom - ((log - low) / (high - low)) * (height - top - bottom);
    const parts = [];
    const levels = [...new Set(history.map(([number]) => number))];
    for (const number of levels) {
      const steps = history.map(([other], n) => (other === number ? n : -1)).filter((n) => n >= 0);
      const points = steps.map((n) => `${x(n).toFixed(1)},${y(logs[n]).toFixed(1)}`).join(" ");
      parts.push(svg("polyline", { points }));
      const late = x(steps[0]) > width - 60; // a level that has just begun has its whole name all the same
      const place = late ? { x: width - 4, "text-anchor": "end" } : { x: x(steps[0]) };
      const next = history.findIndex(([other]) => other > number);
      const room = next < 0 ? Infinity : Math.min(x(next), width - 60) - x(steps[0]);
      if (room > 56) parts.push(svg("text", { ...place, y: top - 6 }, `level ${number}`));
      if (steps[0])
        parts.push(svg("line", { x1: x(steps[0]), x2: x(steps[0]), y1: top, y2: height - bottom }));
    }
    for (const [log, place] of [
      [high, top + 4],
      [low, height - bottom],
    ])
      parts.push(svg("text", { x: left - 6, y: place, "text-anchor": "end" }, (10 ** log).toPrecision(2)));
    parts.push(svg("text", { x: left, y: height - 4 }, "iterations"));
    parts.push(
      svg(
        "text",
        { x: width - right, y: height - 4, "text-anchor": "end" },
        String(history.length - levels.length),
      ),
    );
    parts.push(svg("text", { x: 4, y: 12 }, "mean squared difference (logarithmic)"));
    this.curve.replaceChildren(...parts);
    const [first, last] = [history[0], history[history.length - 1]].map(([, , msd]) => msd.toPrecision(2));
    this.curve.setAttribute(
      "aria-label",
      `Mean squared difference: from ${first} to ${last} in ${history.length} steps on ${levels.length} levels.`,
    );
  }

  /** Show what belongs to the mode of a comparison. */
  showMode() {
    const mode = this.get("mode");
    if (mode === this.modeShown) return;
    this.modeShown = mode;
    for (const { plane, n, canvas } of this.panels) {
      const name = this.nameOf(plane);
      canvas.setAttribute("aria-label", this.apart() ? `${this.scene.names[n]} ${name}` : `${name}, ${mode}`);
    }
    this.flicker(mode === "flicker" && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    this.layOut();
  }

  /** Let the two images take turns, or hold the one that is seen. */
  flicker(on) {
    clearInterval(this.flickering);
    const turn = () => {
      this.flickered = !this.flickered;
      this.schedule();
    };
    this.flickering = on ? setInterval(turn, FLICKER_MS) : null;
    this.holdRow.hidden = this.get("mode") !== "flicker";
    this.shareRow.hidden = this.get("mode") !== "blend";
    this.holdButton.setAttribute("aria-pressed", String(!on));
  }

  /** Cut a plane out of layer `n`: as fine as the kernel has sent it. */
  cut(n, plane) {
    const index = this.get("index");
    const time = this.get("time");
    const m = this.planes.indexOf(plane);
    const { answer } = this;
    const detail = answer?.details[n]?.[m];
    if (!detail || answer.time !== time || answer.index[plane.across] !== index[plane.across]) {
      const layer = this.layers[n];
      return {
        cut: plane.cut(layer, layer.codes, index, time),
        lut: this.luts[n]?.lut,
        values: layer.values,
      };
    }
    const rows = Int32Array.from({ length: plane.rows }, (_, row) => row * plane.columns);
    const columns = Int32Array.from({ length: plane.columns }, (_, column) => column);
    const cut = { codes: detail.codes, rows, columns, base: 0, outside: 0 };
    return { cut, lut: this.luts[`${n} ${m}`]?.lut, values: detail.values };
  }

  /** Place the crosshair: lines as wide as the plane, moved without a new layout. */
  drawCrosshair({ plane, origin, across, down }) {
    const [row, column] = plane.pixelOf(this.indexShown());
    const place = (part, n) =>
      100 * (this.zoom === 1 ? part : part * this.zoom - origin[n] * (this.zoom - 1));
    across.style.transform = `translateY(${place((row + 0.5) / plane.rows, 1)}%)`;
    down.style.transform = `translateX(${place((column + 0.5) / plane.columns, 0)}%)`;
    across.hidden = down.hidden = this.hidden.crosshair;
  }

  writeCaption({ plane, n, caption }) {
    const vox = this.get("_frame") ? this.indexShown() : this.get("cursor_vox");
    const index = this.indexShown();
    const seen = this.apart() ? n : this.get("mode") === "flicker" ? Number(this.flickered ?? 0) : null;
    const parts = this.registers ? [this.imageShown()] : seen === null ? [] : [this.scene.names[seen]];
    const { picture, world, display, affine, tilt } = this.scene;
    if (!picture) {
      if (world) parts.push(plane.name);
      parts.push(`${"ijk"[plane.across]} = ${index[plane.across]}`);
      const axis = display.indexOf(plane.across);
      const mm = Number(apply(affine, vox)[axis].toPrecision(4));
      if (world) parts.push(tilt > 0.5 ? "(oblique)" : `(${"xyz"[axis]} = ${mm} mm)`);
    }
    writeParts(caption, parts);
  }

  showReadout() {
    const { scene } = this;
    const index = this.get("index");
    const time = this.get("time");
    const mm = this.get("cursor_mm");
    let place = scene.picture
      ? `row ${index[0]}, column ${index[1]}`
      : `voxel (i, j, k) = (${index.join(", ")})`;
    if (scene.world) place += ` at ${[..."xyz"].map((axis, n) => coordinate(axis, mm[n])).join(", ")}`;
    else if (scene.unit === "mm")
      place += ` at ${mm.map((x) => (round(x * 10) / 10).toFixed(1)).join(", ")} mm from the first voxel`;
    if (scene.tilt > 0.5) place += ` (slices follow the voxel grid, tilted by ${Math.round(scene.tilt)}°)`;
    const frame = this.get("_frame");
    const layers = () => (frame ? this.layers.slice(0, 2) : this.layers); // not those of the run before
    const values = () =>
      layers()
        .map((layer, n) => this.valueText(layer, index, time, scene.names[n]))
        .join("; ");
    let value = this.answers() && !(frame && scene.names.length > 2) ? this.answer.text : values();
    if (frame) value += `; level ${frame.level}, iteration ${frame.iteration}`;
    if (scene.times > 1) value += `; time point ${time}`;
    if (scene.timeStep) value += ` (${Number((time * scene.timeStep).toPrecision(4))} s)`;
    const windows = this.windowsSeen();
    for (const [trait, whose] of windows) {
      // Of two images there is no room for what is the same said otherwise.
      value += `; window ${whose}${windowText(...this.get(trait), windows.length === 1)}`;
    }
    if (this.place.textContent !== place) this.place.replaceChildren(...unbroken(place));
    write(this.value, value);
  }

  /** Return the value of a voxel in words, as well as the codes know it. */
  valueText(layer, index, time, name) {
    const code = codeAt(layer, layer.codes, index, time);
    if (layer.bytes === 4)
      return `${name} ${[..."RGBA"]
        .slice(0, this.scene.channels)
        .map((letter, n) => `${letter} ${(code >>> (8 * n)) & 255}`)
        .join(", ")}`;
    const value = layer.values[code];
    if (layer.exact || Number.isNaN(value)) return `${name} ${short(value)}`.replace("NaN", "nan");
    const last = (layer.table?.length ?? 256 ** layer.bytes) - 1;
    const ends = layer.clips ? { [Number(layer.hasNan)]: "≤", [last]: "≥" } : {};
    const sign = ends[code] ?? "≈";
    return `${name} ${sign} ${Number(value.toPrecision(3))}`;
  }

  // -- What only the kernel knows: exact values, and the finest detail of large volumes --

  /** When the crosshair rests: speak, and ask the kernel if there is one and it knows more. */
  rest() {
    const state = String([
      this.get("index"),
      this.get("time"),
      this.get("window"),
      this.get("window_moving"),
    ]);
    if (state === this.rested) return;
    this.rested = state;
    clearTimeout(this.resting);
    clearTimeout(this.speaking);
    this.resting = setTimeout(() => {
      this.tellNow();
      this.ask();
    }, REST_MS);
    this.speaking = setTimeout(() => this.speak(), 4 * REST_MS);
  }

  ask() {
    if (!this.layers) return;
    const detail = this.needsDetail();
    if (detail || this.layers.some((layer) => !layer.exact))
      this.model.send({ index: this.get("index"), time: this.get("time"), detail });
  }

  /** Tell whether the kernel's last answer is of this very voxel. */
  answers() {
    const { answer } = this;
    return answer && String([answer.index, answer.time]) === String([this.get("index"), this.get("time")]);
  }

  /** Tell whether the codes are too few, or too coarse for the window. */
  needsDetail() {
    return this.layers.some(({ role, step, exact, bytes, table, offset, slope }) => {
      if (step > 1 && role !== "field") return true;
      const window = { image: "window", moving: "window_moving" }[role];
      if (!window || exact || bytes !== 1 || table) return false;
      const [low, high] = this.get(window);
      return (high - low) / slope < 64 || low < offset - slope || high > offset + 256 * slope;
    });
  }

  /** Take the kernel's answer: the value in words and, if asked for, each layer's planes in full detail. */
  async hear(message, buffers) {
    const number = (this.heard = (this.heard ?? 0) + 1);
    const { scene } = this;
    const unpack = async (plane, role) => {
      const codes = await codesOf({ ...plane, voxels: plane.voxels ?? buffers[plane.buffer] });
      return { ...plane, role, codes, values: valuesOf(plane) };
    };
    const details = await Promise.all(
      message.details.map((planes, n) => Promise.all(planes.map((plane) => unpack(plane, scene.roles[n])))),
    );
    if (number !== this.heard || this.scene !== scene) return; // closed, or a later answer has come
    this.answer = { ...message, details, number };
    this.draw();
  }

  speak() {
    if (this.root.contains(document.activeElement))
      this.spoken.textContent = `${this.place.textContent}; ${this.value.textContent}`;
  }

  // -- Moving --

  /** Move the crosshair to voxel coordinates, or as close as the image allows. */
  moveTo(vox) {
    const { shape, affine } = this.scene;
    const cursor = vox.map((x, axis) => Math.min(Math.max(x, -0.5), shape[axis] - 0.5));
    const index = cursor.map((x, axis) => Math.min(Math.max(Math.floor(x + 0.5), 0), shape[axis] - 1));
    const before = this.get("index");
    Object.assign(this.untold, { index, cursor_vox: cursor, cursor_mm: apply(affine, cursor) });
    this.putPlace();
    this.tellWithin(TELL_MS);
    if (!this.layers && !this.answers()) return;
    // The planes at once: the next frame then has only to be painted. The words when that is done, as the browser
    // lays out JupyterLab's whole page for them.
    this.drawPlanes(({ across }) => index[across] !== before[across]);
    this.wording ??= setTimeout(() => {
      this.wording = null;
      this.showWords();
    }, WORDS_MS);
  }

  /** Set the three names of the place where the last move led. */
  putPlace() {
    this.moving = true;
    for (const name of ["index", "cursor_vox", "cursor_mm"]) this.model.set(name, this.untold[name]);
    this.moving = false;
  }

  /** Bring the three names of the place in line when one was set from elsewhere. */
  follow(name) {
    if (this.moving || !this.scene?.roles) return;
    if (this.untold.index) return this.putPlace(); // the kernel's echo of an earlier move
    const { shape, affine, inverse } = this.scene;
    const now = this.get(name);
    const vox = name === "cursor_mm" ? apply(inverse, now) : now;
    // A linked viewer of a larger image has set it: Python would refuse what is outside. Half a voxel is inside.
    if (vox.some((x, axis) => x < -0.5 - 1e-6 || x > shape[axis] - 0.5 + 1e-6)) return this.moveTo(vox);
    const index = vox.map((x, axis) => Math.min(Math.max(Math.floor(x + 0.5), 0), shape[axis] - 1));
    this.moving = true;
    if (name !== "index") this.model.set("index", index);
    if (name !== "cursor_vox" && (name !== "index" || String(this.nearest()) !== String(now)))
      this.model.set("cursor_vox", vox);
    if (name !== "cursor_mm") this.model.set("cursor_mm", apply(affine, this.get("cursor_vox")));
    this.moving = false;
    this.schedule();
  }

  /** Return the voxel that holds the cursor. */
  nearest() {
    return this.get("cursor_vox").map((x, axis) =>
      Math.min(Math.max(Math.floor(x + 0.5), 0), this.scene.shape[axis] - 1),
    );
  }

  onKey(event, { plane }) {
    if (isShortcut(event)) return;
    const index = this.get("index");
    const far = event.shiftKey ? 10 : 1;
    const last = this.scene.shape[plane.across] - 1;
    const turn = (n) => this.moveTo(index.map((x, axis) => (axis === plane.across ? n : x)));
    if (ARROWS[event.key]) {
      const [row, column] = plane.pixelOf(index);
      const [down, right] = ARROWS[event.key];
      this.moveTo(
        plane
          .voxelAt([row + far * down, column + far * right], index)
          .map((x, axis) => Math.min(Math.max(x, 0), this.scene.shape[axis] - 1)),
      );
    } else if (!last && TURNING.includes(event.key)) return;
    else if (event.key === "PageUp") turn(Math.min(index[plane.across] + far, last));
    else if (event.key === "PageDown") turn(Math.max(index[plane.across] - far, 0));
    else if (event.key === "Home") turn(0);
    else if (event.key === "End") turn(last);
    else if (event.key === "+" || event.key === "=") this.setZoom(this.zoom * 1.5);
    else if (event.key === "-") this.setZoom(this.zoom / 1.5);
    else if (event.key === "0") this.setZoom(1);
    else if (event.key === "[" || event.key === "]") this.turnTime(event.key === "]" ? 1 : -1);
    else if (event.key === " " && this.get("mode") === "flicker") this.flicker(!this.flickering);
    else if (event.key === " ") this.play(!this.playing);
    else if (event.key === "Enter") this.set({ clicked: index });
    else if (this.registers && REGISTRATION_KEYS[event.key.toLowerCase()])
      this.set(REGISTRATION_KEYS[event.key.toLowerCase()]);
    else if ((event.key === "m" || event.key === "M") && this.compares) this.nextMode();
    else if (event.key === "c" || event.key === "C") this.toggle("crosshair");
    else if (event.key === "o" || event.key === "O") this.toggle("overlay");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  setZoom(zoom) {
    this.zoom = Math.min(Math.max(zoom, 1), MOST_ZOOM);
    if (this.zoom < 1.01) this.zoom = 1;
    this.showZoom();
    this.showControls();
  }

  nextMode() {
    const { modes } = this.scene;
    this.set({ mode: modes[(modes.indexOf(this.get("mode")) + 1) % modes.length] });
  }

  toggle(what) {
    this.hidden[what] = !this.hidden[what];
    this.schedule();
  }

  turnTime(step) {
    const { times } = this.scene;
    if (times > 1) this.set({ time: (this.get("time") + step + times) % times });
  }

  play(on) {
    clearInterval(this.playing);
    this.playing = on && this.scene.times > 1 ? setInterval(() => this.turnTime(1), FRAME_MS) : null;
    if (!this.playButton) return;
    this.playButton.setAttribute("aria-pressed", String(Boolean(this.playing)));
    this.playButton.textContent = this.playing ? "❚❚ pause" : "▶ play";
  }

  /** Click or drag: the left button moves the crosshair; the right one, or Shift, sets the window. */
  onPointer(event, panel) {
    const { canvas, plane } = panel;
    // A finger may be on its way down the page: that it is meant for the plane, its first moves tell.
    let meant = event.pointerType !== "touch";
    if (meant) canvas.focus({ preventScroll: true });
    const windowing = event.button === 2 || (event.shiftKey && event.button === 0);
    if (event.button !== 0 && !windowing) return;
    const trait = this.windowOf(panel);
    const from = { x: event.clientX, y: event.clientY, window: this.get(trait) };
    const pick = ({ clientX, clientY }) => {
      const box = canvas.getBoundingClientRect();
      const row = ((clientY - box.top) / box.height) * plane.rows - 0.5;
      const column = ((clientX - box.left) / box.width) * plane.columns - 0.5;
      const inside = (x, size) => Math.min(Math.max(Math.floor(x + 0.5), 0), size - 1);
      return plane.voxelAt([inside(row, plane.rows), inside(column, plane.columns)], this.get("index"));
    };
    const adjust = ({ clientX, clientY }) => {
      const [low, high] = from.window;
      const windows = trait === "window" ? this.scene.windows : this.scene.windowsMoving;
      if (!this.isSeen(trait)) return;
      // Far beyond the values all is black or white, and no way back is in sight.
      const [min, max] = rangeOf(windows);
      const within = (value, least, most) => Math.min(Math.max(value, least), most);
      const widest = Math.max(2 * (max - min), high - low);
      const width = within((high - low) * 2 ** ((clientX - from.x) / 100), 0, widest);
      const middle = (low + high) / 2;
      const moved = middle - ((clientY - from.y) / 200) * (high - low);
      const centre = within(moved, Math.min(min, middle), Math.max(max, middle));
      this.set({ [trait]: [centre - width / 2, centre + width / 2] });
    };
    const choose = () => {
      const chosen = pick(event);
      this.moveTo(chosen);
      this.set({ clicked: chosen });
    };
    const touched = () => {
      meant = true;
      canvas.focus({ preventScroll: true });
      choose();
    };
    const over = new AbortController();
    const listen = (name, react) => canvas.addEventListener(name, react, { signal: over.signal });
    listen("pointermove", (moved) => {
      if (!meant) {
        const [x, y] = [moved.clientX - from.x, moved.clientY - from.y].map(Math.abs);
        if (Math.max(x, y) < SLOP) return;
        if (y > x) return over.abort();
        touched();
      }
      if (windowing) adjust(moved);
      else this.moveTo(pick(moved));
    });
    listen("pointerup", () => {
      if (!meant) touched(); // a tap
      over.abort();
    });
    listen("pointercancel", () => over.abort());
    if (meant && !windowing) choose();
    canvas.setPointerCapture(event.pointerId);
  }

  /** Turn the slices of the plane that has the focus. Without the focus the wheel scrolls the page. */
  onWheel(event) {
    const panel = this.panels.find(
      ({ canvas }) =>
        canvas === document.activeElement && canvas.parentElement.parentElement.contains(event.target),
    );
    // Where there is nothing to turn the page scrolls on.
    if (!panel || event.ctrlKey || this.scene.shape[panel.plane.across] === 1) return;
    event.preventDefault();
    // A slice for each notch of a wheel, however far it is told to go; of a trackpad's small moves, for their sum.
    this.turned = (this.turned ?? 0) - Math.max(-40, Math.min(event.deltaY * (event.deltaMode ? 40 : 1), 40));
    const steps = Math.trunc(this.turned / 40);
    if (!steps) return;
    this.turned -= 40 * steps;
    const { across } = panel.plane;
    const n = Math.min(Math.max(this.get("index")[across] + steps, 0), this.scene.shape[across] - 1);
    this.moveTo(this.get("index").map((x, axis) => (axis === across ? n : x)));
  }
}

/** Return a text in parts, with each coordinate in an element of its own, in which no line ends. */
function unbroken(text) {
  const parts = text.split(/([xyz] = \S+ mm)/);
  return parts.map((part, n) => (n % 2 ? make("span", {}, part) : part));
}

/** Return a world coordinate in words, such as "x = -12.0 mm (left)". */
function coordinate(axis, value) {
  const mm = round(value * 10) / 10 || 0; // no minus zero
  const letter = { x: "LR", y: "PA", z: "IS" }[axis][Number(mm > 0)];
  return `${axis} = ${mm.toFixed(1)} mm${mm ? ` (${DIRECTIONS[letter]})` : ""}`;
}
