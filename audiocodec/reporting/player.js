// Clips that play in step: all run all the time, and a gain of one or none decides which is heard.

const FADE = 0.008; // seconds; a switch without a click
const decoded = new WeakMap(); // clip -> promise of its AudioBuffer
let context = null;
let sounding = null; // the one player that plays

function decode(clip) {
  if (!decoded.has(clip)) {
    const bytes = Uint8Array.from(atob(clip.flac), (letter) => letter.charCodeAt(0));
    decoded.set(clip, context.decodeAudioData(bytes.buffer));
  }
  return decoded.get(clip);
}

class SyncPlayer {
  // clips: name -> {flac, gain}; onChange is called when it starts, stops, moves or switches.
  constructor(clips, onChange) {
    this.clips = clips;
    this.heard = Object.keys(clips)[0];
    this.loop = false;
    this.playing = false;
    this.offset = 0; // seconds into the clips when not playing
    this.duration = 0;
    this.voices = [];
    this.onChange = onChange;
  }

  get position() {
    if (!this.playing) return this.offset;
    const at = Math.max(context.currentTime - this.origin, this.offset);
    return this.loop ? at % this.duration : Math.min(at, this.duration);
  }

  async toggle() {
    if (this.playing) this.pause();
    else await this.play();
  }

  async play() {
    context ??= new AudioContext();
    const names = Object.keys(this.clips);
    const pending = (this.request = {});
    const [, ...buffers] = await Promise.all([context.resume(), ...names.map((name) => decode(this.clips[name]))]);
    if (this.playing || pending !== this.request) return;
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    this.duration = buffers[0].duration;
    if (this.offset >= this.duration - 0.01) this.offset = 0;
    this._start(names, buffers);
    this.onChange();
    this._follow();
  }

  _start(names, buffers) {
    const begin = context.currentTime + 0.03;
    this.origin = begin - this.offset;
    this.playing = true;
    this.voices = names.map((name, index) => {
      const source = new AudioBufferSourceNode(context, { buffer: buffers[index], loop: this.loop });
      const volume = new GainNode(context, { gain: this._volume(name) });
      source.connect(volume).connect(context.destination);
      source.start(begin, this.offset);
      return { name, source, volume };
    });
    const [first] = this.voices;
    first.source.onended = () => {
      if (this.playing && this.voices[0] === first) this._stop(this.duration);
    };
  }

  pause() {
    this.request = null; // a play that still decodes will not begin
    if (this.playing) this._stop(this.position);
  }

  _stop(offset) {
    this.playing = false;
    this.offset = offset;
    for (const { source, volume } of this.voices) {
      volume.gain.setTargetAtTime(0, context.currentTime, FADE);
      source.stop(context.currentTime + 6 * FADE);
    }
    this.voices = [];
    this.onChange();
  }

  async seek(seconds) {
    const again = this.playing;
    if (again) this._stop(seconds);
    this.offset = seconds;
    if (again) await this.play();
    else this.onChange();
  }

  setLoop(loop) {
    this.offset = this.position;
    if (this.playing) this.origin = context.currentTime - this.offset;
    this.loop = loop;
    for (const { source } of this.voices) source.loop = loop;
  }

  select(name) {
    this.heard = name;
    for (const voice of this.voices) {
      voice.volume.gain.setTargetAtTime(this._volume(voice.name), context.currentTime, FADE);
    }
    this.onChange();
  }

  _volume(name) {
    return name === this.heard ? this.clips[name].gain : 0;
  }

  _follow() {
    if (!this.playing) return;
    this.onChange();
    requestAnimationFrame(() => this._follow());
  }
}

// Joins a SyncPlayer to a play button, a position slider and a text with the time.
function transport(clips, { play, seek, time }, onChange = () => {}) {
  const player = new SyncPlayer(clips, () => {
    play.textContent = player.playing ? "Pause" : "Play";
    seek.value = player.position;
    seek.ariaValueText = time.value = `${player.position.toFixed(1)} s`;
    onChange();
  });
  play.addEventListener("click", () => player.toggle());
  seek.addEventListener("input", () => player.seek(Number(seek.value)));
  return player;
}

// Keys inside an element: space plays, others switch; left to text fields, buttons and sliders as far as they need them.
function startKeys(element, player, names, choose) {
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input[type=text], input[type=number]")) return;
    const name = names[event.key.toLowerCase()];
    if (event.key === " " && !event.target.matches("button, input[type=checkbox], select, summary")) player.toggle();
    else if (name !== undefined) choose(name);
    else return;
    event.preventDefault();
  });
}

function startPlayer(article) {
  const example = data.examples[article.dataset.example];
  const find = (selector) => article.querySelector(selector);
  const radios = [...article.querySelectorAll("input[type=radio]")];
  const clips = {};
  for (const { value } of radios) clips[`_${value}`] = value === "reference" ? example.reference : example.systems[value];
  const heads = [...article.querySelectorAll(".head")];
  const figures = [...article.querySelectorAll(".picture")];
  const seek = find(".seek");
  const player = transport(clips, { play: find(".play"), seek, time: find(".time") }, () => {
    const place = `${Math.min(100, (100 * player.position) / seek.max)}%`;
    heads.forEach((head) => { head.hidden = false; head.style.left = place; });
    figures.forEach((figure) => figure.classList.toggle("current", player.heard === `_${figure.dataset.of}`));
  });
  radios.forEach((radio) => radio.addEventListener("change", () => player.select(`_${radio.value}`)));
  find(".loop").addEventListener("change", (event) => player.setLoop(event.target.checked));
  figures.forEach((figure) => {
    const screen = figure.querySelector(".screen");
    screen.addEventListener("click", (event) => {
      player.seek((seek.max * event.offsetX) / screen.clientWidth);
    });
  });
  const keys = Object.fromEntries(radios.map((radio, index) => [`${index + 1}`, radio]));
  startKeys(article, player, keys, (radio) => { radio.click(); radio.focus(); });
  radios.find((radio) => radio.value === "reference").checked = true;
  article.querySelectorAll("[hidden]").forEach((part) => { if (!part.matches(".head")) part.hidden = false; });
}
