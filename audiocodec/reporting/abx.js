// Blind ABX, and what both blind tests share: chance, the session's trials, the file of ratings.

const session = { id: hex(8), rater: "", trials: [] };

function hex(count) {
  return [...crypto.getRandomValues(new Uint8Array(count))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function below(count) {
  const limit = Math.floor(2 ** 32 / count) * count; // larger draws would favour small numbers
  let drawn;
  do [drawn] = crypto.getRandomValues(new Uint32Array(1)); while (drawn >= limit);
  return drawn % count;
}

function shuffled(list) {
  const result = [...list];
  for (let last = result.length - 1; last > 0; last--) {
    const other = below(last + 1);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

// Probability of at least `correct` right answers of `total` by guessing.
function pByGuessing(correct, total) {
  let term = 0.5 ** total, sum = 0;
  for (let k = 0; k <= total; k++) {
    if (k >= correct) sum += term;
    term *= (total - k) / (k + 1);
  }
  return sum;
}

function download() {
  const content = { format: data.format, version: data.version, report: data.report };
  Object.assign(content, { session: session.id, rater: session.rater, trials: session.trials });
  const url = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  make("a", { href: url, download: `ratings-${data.report}-${session.id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function downloadButton() {
  const button = make("button", { type: "button", className: "download" }, "Download ratings (JSON)");
  button.addEventListener("click", download);
  const note = "All finished tests since this page was opened, in one file, for ";
  return make("p", {}, button, " ", make("small", {}, note, make("code", {}, "audiocodec report --ratings"), "."));
}

// Controls of a blind test: a transport, and a row of choices that all sound in step.
function stageControls(clips, names) {
  const play = make("button", { type: "button", className: "play" }, "Play");
  const seek = make("input", { type: "range", className: "seek", min: 0, step: 0.01, value: 0, ariaLabel: "Position" });
  const time = make("output", { className: "time" }, "0.0 s");
  const group = `stage-${hex(4)}`;
  const radios = Object.fromEntries(Object.entries(names).map(([key, name]) => {
    const radio = make("input", { type: "radio", name: group, value: key });
    return [key, { radio, label: make("label", { className: "choice" }, radio, make("span", {}, name)) }];
  }));
  const player = transport(clips, { play, seek, time }, () => { seek.max = player.duration || 10; });
  player.setLoop(true);
  for (const { radio } of Object.values(radios)) radio.addEventListener("change", () => player.select(radio.value));
  Object.values(radios)[0].radio.checked = true;
  return { player, radios, bar: make("div", { className: "controls" }, play, seek, time) };
}

function startAbx(form, stage) {
  const field = form.elements;
  data.systems.forEach((label, index) => {
    if (data.examples.some((example) => example.systems[index])) field.system.append(new Option(label, index));
  });
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    session.rater = field.rater.value.trim() || session.rater;
    form.hidden = true;
    abxTrial({ system: Number(field.system.value), total: Number(field.trials.value), trials: [], queue: [] });
  });

  function abxTrial(run) {
    if (run.trials.length === run.total) return finish(run);
    if (!run.queue.length) run.queue = shuffled(data.examples.filter((example) => example.systems[run.system]));
    const example = run.queue.pop();
    const system = example.systems[run.system];
    const x = below(2) ? "reference" : "system";
    const clips = { a: example.reference, b: system, x: x === "system" ? system : example.reference };
    const names = { a: "A: reference", b: `B: ${data.systems[run.system]}`, x: "X" };
    const { player, radios, bar } = stageControls(clips, names);
    const answers = [["reference", "X is A"], ["system", "X is B"]].map(([answer, words]) => {
      const button = make("button", { type: "button", className: "answer", disabled: true }, words);
      button.addEventListener("click", () => {
        player.pause();
        run.trials.push({ test: "abx", utterance: example.id, system: data.systems[run.system], x, answer });
        abxTrial(run);
      });
      return button;
    });
    const listen = player.onChange; // an answer needs X to have been heard
    player.onChange = () => {
      listen();
      if (player.playing && player.heard === "x") answers.forEach((button) => { button.disabled = false; });
    };
    const head = make("h3", { tabIndex: -1 }, `Trial ${run.trials.length + 1} of ${run.total}`);
    const choices = make("div", { className: "heard" }, ...Object.values(radios).map(({ label }) => label));
    const note = make("p", {}, make("small", {}, "Keys a, b, x switch, space plays. Listen to X before you answer."));
    const area = make("div", {}, head, bar, choices, make("div", { className: "answers" }, ...answers, quitButton(player, form, stage)), note);
    startKeys(area, player, { a: "a", b: "b", x: "x" }, (key) => { radios[key].radio.click(); radios[key].radio.focus(); });
    stage.replaceChildren(area);
    head.focus();
  }

  function finish(run) {
    session.trials.push(...run.trials);
    const correct = run.trials.filter((trial) => trial.x === trial.answer).length;
    const p = pByGuessing(correct, run.total);
    const verdict = p < 0.05 ? "A difference was heard." : "No difference was shown; that does not show that there is none.";
    const head = make("h3", { tabIndex: -1 }, `${correct} of ${run.total} correct`);
    const words = `p = ${p.toFixed(4)}: the probability of at least that many by guessing. ${verdict}`;
    stage.replaceChildren(head, make("p", { className: "verdict" }, words), downloadButton());
    form.hidden = false;
    head.focus();
  }
}

function quitButton(player, form, stage) {
  const button = make("button", { type: "button", className: "quit" }, "Give up");
  button.addEventListener("click", () => {
    player.pause();
    stage.replaceChildren();
    form.hidden = false;
  });
  return button;
}
