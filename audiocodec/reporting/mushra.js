// MUSHRA-style test: every stimulus of an utterance on one screen, names hidden, the open reference beside them.

function startMushra(form, stage) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    session.rater = form.elements.rater.value.trim() || session.rater;
    form.hidden = true;
    mushraScreen({ queue: shuffled(data.examples), trials: [] });
  });

  function mushraScreen(run) {
    if (!run.queue.length) return finish(run);
    const example = run.queue.pop();
    const total = run.queue.length + run.trials.length + 1;
    const hidden = [{ condition: "reference", clip: example.reference }, { condition: "anchor", clip: example.anchor }];
    example.systems.forEach((clip, index) => hidden.push({ condition: "system", system: data.systems[index], clip }));
    const stimuli = shuffled(hidden.filter(({ clip }) => clip));
    const clips = { open: example.reference }, names = { open: "Reference" };
    stimuli.forEach(({ clip }, index) => { clips[`s${index + 1}`] = clip; names[`s${index + 1}`] = `${index + 1}`; });
    const { player, radios, bar } = stageControls(clips, names);
    const next = make("button", { type: "button", className: "next", disabled: true }, run.queue.length ? "Next" : "Finish");
    const sliders = stimuli.map((stimulus, index) => slider(stimulus, radios[`s${index + 1}`], index + 1, () => {
      next.disabled = stimuli.some(({ score }) => score === undefined);
    }));
    next.addEventListener("click", () => {
      player.pause();
      run.trials.push({ test: "mushra", utterance: example.id, scores: collect(stimuli) });
      mushraScreen(run);
    });
    const head = make("h3", { tabIndex: -1 }, `Screen ${run.trials.length + 1} of ${total}`);
    const open = make("div", { className: "heard" }, radios.open.label);
    const scale = make("p", { className: "scale" }, ...["Bad", "Poor", "Fair", "Good", "Excellent"].map((word) => make("span", {}, word)));
    const note = make("p", {}, make("small", {}, "Keys 0 (reference) to 9 switch, space plays. Move every slider to go on."));
    const answers = make("div", { className: "answers" }, next, quitButton(player, form, stage));
    const area = make("div", {}, head, bar, open, scale, ...sliders, answers, note);
    const keys = { 0: "open" };
    stimuli.slice(0, 9).forEach((_, index) => { keys[index + 1] = `s${index + 1}`; });
    startKeys(area, player, keys, (key) => { radios[key].radio.click(); radios[key].radio.focus(); });
    stage.replaceChildren(area);
    head.focus();
  }

  function slider(stimulus, { radio, label }, number, onRated) {
    const input = make("input", { type: "range", className: "score", min: 0, max: 100, value: 50, ariaLabel: `Score of ${number}` });
    const output = make("output", { className: "rated" }, "–");
    input.addEventListener("input", () => {
      output.value = stimulus.score = Number(input.value);
      if (!radio.checked) radio.click();
      onRated();
    });
    return make("div", { className: "stimulus" }, label, input, output);
  }

  function collect(stimuli) {
    const scores = { reference: null, anchor: null, systems: {} };
    for (const { condition, system, score } of stimuli) {
      if (condition === "system") scores.systems[system] = score;
      else scores[condition] = score;
    }
    return scores;
  }

  function finish(run) {
    session.trials.push(...run.trials);
    const found = new Map();
    const add = (name, score) => { if (score !== null) found.set(name, [...(found.get(name) || []), score]); };
    for (const { scores } of run.trials) {
      add("hidden reference", scores.reference);
      add("anchor, 3.5 kHz", scores.anchor);
      Object.entries(scores.systems).forEach(([label, score]) => add(label, score));
    }
    const means = [...found].map(([name, list]) => [name, list.reduce((a, b) => a + b, 0) / list.length]);
    means.sort((one, other) => other[1] - one[1]);
    const items = means.map(([name, mean]) => make("li", {}, `${name}: ${mean.toFixed(1)}`));
    const head = make("h3", { tabIndex: -1 }, "Your means, 0 to 100");
    stage.replaceChildren(head, make("ul", { className: "verdict" }, ...items), downloadButton());
    form.hidden = false;
    head.focus();
  }
}
