// The page: takes a recording, asks for its versions one after another, shows each as it comes.

const find = (selector) => document.querySelector(selector);
const article = find("article.player");
const seek = article.querySelector(".seek");
const player = transport({}, { play: article.querySelector(".play"), seek, time: article.querySelector(".time") }, () => {
  const place = `${Math.min(100, (100 * player.position) / seek.max)}%`;
  article.querySelectorAll(".head").forEach((head) => { head.style.left = place; });
  article.querySelectorAll(".picture").forEach((figure) => figure.classList.toggle("current", figure.dataset.of === player.heard));
});
let running = null; // AbortController of what is asked for now; a new recording ends the old one's
let microphone = null;

class Lost extends Error {} // nothing more can be had of this recording

function tell(words) {
  find("#status").textContent = words;
}

function complain(words) {
  find("#problem").textContent = words;
  find("#problem").hidden = !words;
}

const HERE_BYTES = 10 * 2 ** 20; // of a file that the browser decodes: it decodes all of it
const NO_SERVER = "The server does not answer. Was it stopped? Run `audiocodec demo` again and open the address that it prints.";

// A POST that gives JSON; an Error in words when it fails.
async function ask(path, body, signal) {
  let answer, found;
  try {
    answer = await fetch(path, { method: "POST", body, signal });
    found = await answer.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Lost(NO_SERVER);
  }
  if (answer.status === 404) throw new Lost(found.error);
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function give(blob, name) {
  running?.abort();
  player.pause();
  const { signal } = (running = new AbortController());
  complain("");
  find("#hear").hidden = true;
  if (!blob.size) return refuse(name, "is empty (0 bytes)");
  if (blob.size > data.max_bytes) {
    const most = `at most ${data.max_bytes / 2 ** 20} are taken; cut out the part you want to hear`;
    return refuse(name, `has ${Math.round(blob.size / 2 ** 20)} MiB; ${most}`);
  }
  tell(`Reading ${name} …`);
  try {
    const original = await take(blob, signal);
    show(original, name);
    await versions(original, signal);
  } catch (error) {
    if (error.name !== "AbortError") refuse(error instanceof Lost ? "" : name, error.message);
  }
}

// What the server could read only with ffmpeg, which is not there, the browser may know.
async function take(blob, signal) {
  try {
    return await ask("recordings", blob, signal);
  } catch (error) {
    if (!error.message?.includes("install the program ffmpeg") || blob.size > HERE_BYTES) throw error;
    const wav = await wavOf(blob).catch(() => { throw error; });
    return { ...(await ask("recordings", wav, signal)), here: true };
  }
}

// The beginning of what the browser can decode, with a second that shows whether it goes on.
async function wavOf(blob) {
  const buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(await blob.arrayBuffer());
  const samples = Math.min(buffer.length, (data.max_seconds + 1) * buffer.sampleRate);
  const mono = new Float32Array(samples);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    buffer.getChannelData(channel).subarray(0, samples).forEach((value, at) => { mono[at] += value / buffer.numberOfChannels; });
  }
  return wavFile([mono], samples, buffer.sampleRate);
}

function refuse(name, words) {
  tell("");
  complain(name ? `${name}: ${words}` : words);
}

// One after another, as the server codes them; a version that fails leaves the others.
async function versions(original, signal) {
  const { versions: all } = data;
  for (const [index, { key, label }] of all.entries()) {
    tell(`Coding ${index + 1} of ${all.length}: ${label} …`);
    try {
      add(key, await ask(`recordings/${original.id}/${key}`, null, signal), original);
    } catch (error) {
      if (error.name === "AbortError" || error instanceof Lost) throw error;
      row(key).append(make("td", { className: "failed", colSpan: 6 }, error.message));
    }
  }
  tell("Compressing the tokens …");
  for (const { key } of all) {
    const found = await ask(`recordings/${original.id}/${key}/compressed`, null, signal);
    if (found.bytes) row(key).querySelector(".compressed").textContent = `${count(found.bytes)} (${found.kbps.toFixed(2)} kbps)`;
  }
  tell(`Done: ${all.length} versions.`);
}

const count = (value) => value.toLocaleString("en");
const row = (key) => article.querySelector(`tr[data-of="${key}"]`);

// The original, and empty places for its versions.
function show(original, name) {
  const whole = original.goes_on ? `the first ${original.seconds.toFixed(1)} s of a longer file` : `${original.seconds.toFixed(1)} s`;
  const mixed = original.channels > 1 ? `, ${original.channels} channels mixed to one` : "";
  const here = original.here ? ", decoded by the browser" : "";
  find("#about").textContent = `${name}: ${whole}, ${original.sample_rate.toLocaleString("en")} Hz${mixed}${here}.`;
  find("#hear").hidden = false;
  const all = [{ key: "original", label: "Original" }, ...data.versions];
  const radios = all.map(({ key, label }, index) => {
    const radio = make("input", { type: "radio", name: "heard", value: key, disabled: index > 0, checked: index === 0 });
    radio.addEventListener("change", () => choose(key));
    return [radio, make("label", { className: "choice" }, radio, make("span", {}, spot(index), label))];
  });
  article.querySelector(".heard").replaceChildren(make("legend", {}, "Heard"), ...radios.map(([, label]) => label));
  article.querySelector("tbody").replaceChildren(...all.map(({ key, label }, index) => {
    const who = make("span", { className: "who" }, spot(index), make("span", {}, ...breakable(label)));
    const line = make("tr", {}, make("th", { scope: "row" }, who));
    line.dataset.of = key;
    return line;
  }));
  article.querySelector(".pictures").replaceChildren();
  startPlaying(original);
  fill("original", [count(original.bytes), original.kbps.toFixed(0), original.kbps.toFixed(0), "1", "–", "16-bit PCM"]);
  picture("original", "Original", `0 to ${original.sample_rate / 2000} kHz`, original.spectrogram, "spectrogram", "Spectrogram");
}

// A name that may be broken behind its underscores.
function breakable(label) {
  return label.split(/(?<=_)/).flatMap((part) => [part, make("wbr", {})]);
}

function spot(index) {
  return make("span", { className: `swatch c${index % 12}`, ariaHidden: "true" });
}

function startPlaying(original) {
  seek.max = original.seconds;
  player.clips = { original: original.clip };
  player.heard = "original";
  player.seek(0);
}

function choose(key) {
  player.select(key);
  const late = player.playing && !player.voices.some(({ name }) => name === key);
  if (late) player.seek(player.position); // came after it began to play: begin again here, with all there is
}

// A version that is ready.
function add(key, made, original) {
  const { label } = data.versions.find((version) => version.key === key);
  player.clips[key] = made.clip;
  article.querySelector(`.heard input[value="${key}"]`).disabled = false;
  const file = make("a", { href: `data:application/octet-stream;base64,${made.file}`, download: `${label.replace(/[^\w.]+/g, "_")}${made.extension}` }, made.extension);
  file.ariaLabel = `Save the ${made.extension} file of ${label}`;
  const smaller = (original.bytes / made.bytes).toFixed(0);
  fill(key, [count(made.bytes), made.kbps.toFixed(2), made.kbps_payload.toFixed(2), smaller, "–", file]);
  picture(key, label, "", made.spectrogram, "spectrogram", "Spectrogram");
  if (made.tokens) tokens(key, made.tokens);
}

function fill(key, cells) {
  row(key).append(...cells.map((content) => make("td", {}, content)));
  row(key).cells[5].className = "compressed";
}

function tokens(key, { codebooks, frames, frame_rate, codebook_size, distinct, first, strip }) {
  const rows = codebooks > 1 ? `${codebooks} rows of ` : "";
  const different = codebooks > 1 ? `${Math.min(...distinct)} to ${Math.max(...distinct)}` : count(distinct[0]);
  const note = `${rows}${count(frames)}, ${frame_rate} a second; ${different} of ${count(codebook_size)} used`;
  const figure = picture(key, "Tokens", note, strip, "tokens", "Tokens over time, as colours");
  figure.append(make("figcaption", {}, "The first: ", make("code", {}, `${first.join(" ")} …`)));
}

function picture(key, name, note, source, kind, alt) {
  const head = make("span", { className: "head" });
  const screen = make("div", { className: "screen" }, make("img", { src: source, alt }), head);
  screen.addEventListener("click", (event) => player.seek((seek.max * event.offsetX) / screen.clientWidth));
  const figure = make("figure", { className: `picture ${kind}` }, make("figcaption", {}, make("b", {}, name), ` ${note}`), screen);
  figure.dataset.of = key;
  article.querySelector(".pictures").append(figure);
  return figure;
}

// Ways to give a recording.

async function record() {
  const button = find("#record");
  if (microphone) return microphone.stop();
  complain("");
  const ended = (blob) => {
    listening(false);
    give(blob, "Recording");
  };
  microphone = new Microphone(data.max_seconds, (seconds, peak) => {
    find("#elapsed").value = `${seconds.toFixed(1)} of ${data.max_seconds} s`;
    find("#level").style.width = `${Math.max(0, 100 + (100 * 20 * Math.log10(peak + 1e-9)) / 60)}%`;
  }, ended);
  button.disabled = true;
  try {
    player.pause();
    await microphone.start();
    listening(true);
  } catch (error) {
    listening(false);
    refuse("", error.message);
  } finally {
    button.disabled = false;
  }
}

function listening(on) {
  const button = find("#record");
  button.textContent = on ? "Stop" : "Record";
  button.ariaPressed = on ? "true" : "false";
  find("#meter").hidden = !on;
  if (on) tell("Recording …");
  else microphone = null;
}

function startDropping() {
  const root = document.documentElement;
  const files = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    root.classList.add("over");
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) root.classList.remove("over"); });
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    root.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) give(file, file.name);
  });
}

async function sample() {
  try {
    const answer = await fetch("sample.flac");
    give(await answer.blob(), "Sample");
  } catch {
    refuse("", NO_SERVER);
  }
}

startTheme(find("#theme"));
startDropping();
article.querySelectorAll(".scroll").forEach(startScrolling);
find("#record").addEventListener("click", record);
find("#sample").addEventListener("click", sample);
find("#choose").addEventListener("click", () => find("#file").click());
find("#file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) give(file, file.name);
  target.value = "";
});
article.querySelector(".loop").addEventListener("change", ({ target }) => player.setLoop(target.checked));
const names = Object.fromEntries(["original", ...data.versions.map(({ key }) => key)].map((key, index) => [`${index + 1}`, key]));
startKeys(article, player, names, (key) => {
  const radio = article.querySelector(`.heard input[value="${key}"]:enabled`);
  radio?.click();
  radio?.focus();
});
