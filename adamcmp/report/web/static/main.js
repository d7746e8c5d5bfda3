/* The page: colours, tasks, and what is drawn of a task when it is first looked at. */

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function stored(value) {
  try {
    if (value !== undefined) localStorage.setItem("adamcmp-theme", value);
    return localStorage.getItem("adamcmp-theme");
  } catch {
    return null; // a page without an origin may keep nothing
  }
}

function theme(name) {
  const button = document.getElementById("theme");
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  button.dataset.name = name;
  button.textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
  button.setAttribute("aria-label", `Colors: ${THEMES[name]}`);
}

/** Draw the charts of a task that do not change with what is chosen. */
function drawCharts(article, task) {
  const { charts, arms, error } = task;
  const unit = charts.unit;
  const label = unit ? `test ${error} (${unit})` : `test ${error}`;
  const gap = { "%": "pp" }[unit] ?? unit;
  const row = (estimate) => ({
    ...arms[estimate.arm],
    label: arms[estimate.arm].name,
    value: estimate.value,
    inner: [estimate.low, estimate.high],
    note: estimate.note,
  });
  const draw = {
    errors: (svg) => intervalChart(svg, { rows: charts.errors.map(row), label, unit }),
    pairs: (svg) => {
      const rows = charts.pairs.slice(0, 15).map((pair) => ({
        label: `${arms[pair.a].name} − ${arms[pair.b].name}`,
        value: pair.value,
        inner: pair.inner,
        outer: pair.outer,
        colour: pair.kind === "apart" ? "#0072B2" : pair.kind === "same" ? "#009E73" : "#7F7F7F",
        shape: pair.kind === "apart" ? "o" : pair.kind === "same" ? "s" : "D",
        note: { apart: "significantly different", same: "equivalent", open: "no significant difference" }[pair.kind],
      }));
      intervalChart(svg, {
        rows,
        label: `difference of test ${error}${gap ? ` (${gap})` : ""}`,
        unit: gap,
        zero: true,
        margin: charts.margin,
      });
    },
    budget: (svg) => {
      const lines = charts.budget.map((curve) => ({
        ...arms[curve.arm],
        shape: null,
        x: curve.k,
        y: curve.test,
        low: curve.test_low,
        high: curve.test_high,
      }));
      lineChart(svg, { lines, x: { label: "trials", log: true }, y: { label, unit } });
    },
    alongLr: (svg) => along(svg, charts.alongLr, "learning rate"),
    alongDecay: (svg) =>
      along(
        svg,
        charts.alongDecay.filter((curve) => curve.decay === svg.dataset.decay),
        "weight decay λ",
      ),
    basin: (svg) => {
      const panel = charts.basin.find((candidate) => candidate.key === svg.dataset.key);
      intervalChart(svg, { rows: panel.rows.map(row), label: panel.label, zero: true, clip: panel.clip });
    },
  };
  function along(svg, curves, name) {
    const lines = curves.map((curve) => {
      const drawable = curve.x.map((_, i) => i).filter((i) => curve.x[i] > 0 && curve.y[i] !== null);
      const pick = (values) => drawable.map((i) => values[i]);
      return { ...arms[curve.arm], x: pick(curve.x), y: pick(curve.y), half: pick(curve.half) };
    });
    lineChart(svg, { lines: lines.filter((line) => line.x.length), x: { label: name, log: true }, y: { label, unit } });
  }
  for (const svg of article.querySelectorAll("svg.chart")) draw[svg.dataset.chart]?.(svg);
}

async function start() {
  if (!("DecompressionStream" in window)) {
    const text = "This browser is too old to draw the page's figures; those of 2023 and later can.";
    document.getElementById("main").prepend(h("p", { class: "notice" }, text));
    return;
  }
  const content = await unpack("content");
  const opened = new Map();
  const articles = [...document.querySelectorAll("article")];

  function pictures(root) {
    for (const space of root.querySelectorAll("svg[data-picture]")) {
      const svg = content.pictures[Number(space.dataset.of)][space.dataset.picture];
      const src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
      const [width, height] = [space.getAttribute("width"), space.getAttribute("height")];
      const alt = `${space.dataset.picture.replaceAll("_", " ")}: the caption is below it`;
      space.replaceWith(h("img", { src, width, height, alt }));
    }
  }

  /** Show a task; draw it the first time. */
  async function open(article) {
    for (const other of articles) other.hidden = other !== article;
    const choice = document.getElementById("task");
    if (choice) choice.value = article.id;
    if (opened.has(article)) return opened.get(article);
    const index = Number(article.dataset.index);
    const task = content.tasks[index];
    const cells = new Cells(article, task, index);
    const parts = {
      task,
      cells,
      heatmaps: new Heatmaps(article, task, cells),
      table: new CellTable(article, task, cells),
    };
    opened.set(article, parts);
    cells.listeners.push(
      (pinned) => parts.heatmaps.mark(pinned),
      (pinned) => parts.table.mark(pinned),
    );
    for (const table of article.querySelectorAll("table.data[data-csv], .table-tools + .scroll table.data"))
      enhance(table, task.csv);
    drawCharts(article, task);
    pictures(article);
    const best = task.charts.errors.map((row) =>
      task.cells.rank.findIndex((rank, i) => rank === 1 && task.cells.arm[i] === row.arm),
    );
    for (const cell of best.slice(0, 2)) await cells.toggle(cell);
    say("");
    return parts;
  }

  for (const table of document.querySelectorAll(".whole table.data")) enhance(table, {});
  pictures(document.querySelector(".whole") ?? document.createElement("div"));
  const named = articles.find((article) => `#${article.id}` === location.hash) ?? articles[0];
  await open(named);

  document
    .getElementById("task")
    ?.addEventListener("change", (event) => open(document.getElementById(event.target.value)));
  for (const link of document.querySelectorAll("[data-task]"))
    link.addEventListener("click", () => open(document.getElementById(link.dataset.task)));
  for (const link of document.querySelectorAll("[data-section]"))
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const shownNow = articles.find((article) => !article.hidden);
      document.getElementById(`${shownNow.id}-${link.dataset.section}`).scrollIntoView();
    });
  let waiting = null;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const [article, { task, cells }] of opened)
        if (!article.hidden) {
          drawCharts(article, task);
          cells.draw();
        }
    }, 150);
  });
  addEventListener("keydown", (event) => event.key === "Escape" && Tip.hide());
  document.documentElement.dataset.ready = "yes";
}

theme(stored() ?? "auto");
document.getElementById("theme").addEventListener("click", (event) => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(event.target.dataset.name) + 1) % names.length];
  stored(next);
  theme(next);
});
start();
