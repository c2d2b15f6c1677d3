// Sliders -> settings -> numbers -> page. While a slider moves, the learners take fewer and longer steps; once it
// rests, they take those of the command.

const LONGER = 20;
const LONGEST = 3.9; // see the settings: from 4 on, a step could overshoot
const SLICE = 12; // milliseconds of work before the page may breathe
const REST = 150; // milliseconds without a move

function coarse(settings) {
  const some = { ...settings };
  for (const learner of ["reward", "sft"]) {
    const times = Math.max(1, Math.min(LONGER, LONGEST / settings[`${learner}_lr`]));
    some[`${learner}_lr`] = settings[`${learner}_lr`] * times;
    some[`${learner}_steps`] = Math.round(settings[`${learner}_steps`] / times);
  }
  return some;
}

function explore(root) {
  const paper = JSON.parse(root.dataset.paper);
  const start = JSON.parse(root.dataset.settings);
  const settings = { ...start };
  const sliders = [...root.querySelectorAll("input")];
  let timer = 0;
  let frame = 0;
  let shown = null;

  function read(slider) {
    const value = JSON.parse(slider.dataset.values)[slider.value];
    const text = value.toLocaleString("en-US", { maximumFractionDigits: 3 });
    settings[slider.name] = value;
    slider.parentNode.querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", `${text} ${slider.dataset.unit}`.trim());
  }

  function move() {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      root.dataset.state = "moving";
      const work = outcome(coarse(settings));
      let step = work.next();
      while (!step.done) step = work.next();
      show({ ...step.value, settings: { ...settings } });
      timer = setTimeout(settle, REST);
    });
  }

  function settle() {
    const work = outcome({ ...settings });
    const slice = () => {
      const until = performance.now() + SLICE;
      let step = work.next();
      while (!step.done && performance.now() < until) step = work.next();
      if (!step.done) {
        timer = setTimeout(slice, 0);
        return;
      }
      show(step.value);
      root.dataset.state = "settled";
      const words = Object.keys(paper).filter((key) => settings[key] !== paper[key]);
      const command = ["tutelage bandit", ...words.map((key) => `${key}=${settings[key]}`)].join(" ");
      root.querySelector("[data-of=command]").textContent = command;
    };
    slice();
  }

  function show(found) {
    shown = found;
    for (const cell of root.querySelectorAll("td[data-of]")) {
      const [measure, policy] = cell.dataset.of.split(" ");
      const value = found[measure][policy];
      cell.textContent = measure === "likeliest_arm" ? value : value.toFixed(2);
    }
    root.querySelectorAll("[data-of=says] > *").forEach((line, i) => (line.textContent = found.says[i]));
    draw();
  }

  function draw() {
    if (!shown) return;
    for (const [name, drawing] of [["policies", drawPolicies], ["sweep", drawSweep]]) {
      const svg = root.querySelector(`svg[data-of=${name}]`);
      drawing(svg, Math.max(240, svg.parentNode.clientWidth), shown);
    }
  }

  for (const slider of sliders) {
    read(slider);
    slider.addEventListener("input", () => {
      read(slider);
      move();
    });
  }
  root.querySelector("button").addEventListener("click", () => {
    for (const slider of sliders) {
      slider.value = JSON.parse(slider.dataset.values).indexOf(start[slider.name]);
      read(slider);
    }
    move();
  });
  new ResizeObserver(draw).observe(root);
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect(); // nobody pays for what is never looked at
    settle();
  });
  seen.observe(root);
}

// ---- charts: one unit is one pixel, so that text keeps its size on a phone

function element(parent, name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

function ticks(low, high, about) {
  const rough = (high - low) / about;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 5, 10].find((times) => times * ten >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(+(i * step).toPrecision(6));
  return found;
}

function panel(svg, { left, right, top, bottom, x, y, numTicks, name, xName }) {
  const at = {
    x: (value) => left + ((value - x[0]) / (x[1] - x[0])) * (right - left),
    y: (value) => bottom - ((value - y[0]) / (y[1] - y[0])) * (bottom - top),
  };
  for (const value of ticks(...y, numTicks)) {
    element(svg, "line", { class: "grid", x1: left, x2: right, y1: at.y(value), y2: at.y(value) });
    element(svg, "text", { x: left - 6, y: at.y(value) + 4, "text-anchor": "end" }, `${value}`.replace("-", "\u2212"));
  }
  element(svg, "text", { x: 0, y: top - 8, class: "name" }, name);
  if (xName) {
    for (const value of ticks(...x, (right - left) / 70))
      element(svg, "text", { x: at.x(value), y: bottom + 16, "text-anchor": "middle" }, value);
    element(svg, "text", { x: right, y: bottom + 32, "text-anchor": "end" }, xName);
  }
  at.line = (kind, points) => {
    const d = points.map(([px, py], i) => `${i ? "L" : "M"}${at.x(px).toFixed(1)} ${at.y(py).toFixed(1)}`).join("");
    element(svg, "path", { class: `curve ${kind}`, d });
  };
  return at;
}

function fresh(svg, width, height, says) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", says);
}

function drawPolicies(svg, width, found) {
  const narrow = width < 480;
  const [upper, lower] = narrow ? [130, 60] : [210, 95];
  fresh(svg, width, upper + lower + 95, `Chance of each arm, and the learned reward. ${found.says[0]} ${found.says[2]}`);
  const byArm = (values) => Array.from(values, (value, arm) => [arm, value]);
  const highest = Math.max(...POLICIES.map((name) => Math.max(...found.policies[name])));
  const area = { left: 44, right: width - 8, x: [0, found.settings.num_arms - 1] };
  const above = panel(svg, {
    ...area, top: 22, bottom: 22 + upper, y: [0, highest * 1.03], numTicks: narrow ? 3 : 5, name: "chance of the arm",
  });
  for (const name of POLICIES) above.line(name, byArm(found.policies[name]));
  const low = Math.min(...found.learned_reward);
  const high = Math.max(...found.learned_reward, low + 1e-6);
  const below = panel(svg, {
    ...area, top: upper + 60, bottom: upper + 60 + lower, y: [low, high], numTicks: 3, name: "reward", xName: "arm",
  });
  below.line("true", [[0, low], [found.settings.num_arms - 1, high]]);
  below.line("learned", byArm(found.learned_reward));
}

function drawSweep(svg, width, found) {
  fresh(svg, width, 270, `Expected reward by how far the teacher is above the student. ${found.says[1]}`);
  const { student, rlaif, sft: taught } = found.expected_reward;
  const values = [student, rlaif, taught, ...found.sweep.flatMap((point) => [point.sft, point.teacher])];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const last = Math.max(found.sweep[found.sweep.length - 1].gap, 1e-6);
  const room = (high - low) * 0.04 + 1e-6;
  const at = panel(svg, {
    left: 44, right: width - 8, top: 22, bottom: 230, x: [0, last], y: [low - room, high + room], numTicks: 5,
    name: "expected reward", xName: "teacher's peak above the student's, arms",
  });
  const gap = found.settings.teacher_peak - found.settings.student_peak;
  for (const [kind, where] of [["crossing", found.crossing], ["here", gap]]) {
    if (where === null || where < 0 || where > last) continue;
    element(svg, "line", { class: kind, x1: at.x(where), x2: at.x(where), y1: 22, y2: 230 });
  }
  at.line("student", [[0, student], [last, student]]);
  at.line("rlaif", [[0, rlaif], [last, rlaif]]);
  for (const kind of ["teacher", "sft"]) at.line(kind, found.sweep.map((point) => [point.gap, point[kind]]));
  if (gap >= 0 && gap <= last) element(svg, "circle", { class: "sft", cx: at.x(gap), cy: at.y(taught), r: 5 });
}

document.querySelectorAll(".bandit[data-settings]").forEach(explore);
