// Loads pictures one after the other; the picture that is there stays until the next one is whole.

const KEPT = 24;
const PATIENCE = 120; // ms without a picture before the progress line is shown

export class Film {
  #image;
  #progress;
  #kept = new Map();
  #wanted = null;
  #busy = false;

  constructor(image, progress) {
    this.#image = image;
    this.#progress = progress;
  }

  get busy() {
    return this.#busy;
  }

  /** Shows the picture at this address, unless another one is asked for before its turn comes. */
  show(address, then) {
    this.#wanted = { address, then };
    if (!this.#busy) this.#work();
  }

  /** Fetches pictures that may be wanted soon, one at a time, and stops as soon as something is wanted now. */
  async prefetch(addresses) {
    for (const address of addresses) {
      if (this.#busy) return;
      await this.#load(address);
    }
  }

  async #work() {
    this.#busy = true;
    const slow = setTimeout(() => (this.#progress.hidden = false), PATIENCE);
    while (this.#wanted !== null) {
      const { address, then } = this.#wanted;
      this.#wanted = null;
      await this.#load(address);
      if (this.#image.getAttribute("src") !== address) this.#image.src = address;
      then();
    }
    clearTimeout(slow);
    this.#progress.hidden = true;
    this.#busy = false;
  }

  async #load(address) {
    let picture = this.#kept.get(address);
    if (picture === undefined) {
      picture = new Image();
      picture.src = address;
    }
    this.#kept.delete(address);
    this.#kept.set(address, picture);
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
    try {
      await picture.decode();
    } catch {
      // No picture came. The address is shown all the same, so that the alternative text is, and is asked for again next time.
      this.#kept.delete(address);
    }
  }
}
