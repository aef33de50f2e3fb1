// Coverage instrumentation of a compiled core, for the fuzzers: every place where control can arrive (a function's
// start, a loop's turn, each arm of an `if`, the way past a `br_if`, the end of a block) counts its visits in linear
// memory. Inserting whole stack-neutral sequences leaves types and label depths as they were, so one pass over the code
// section's bytes does it. Loops and calls also burn fuel: when it is used up the core traps, which is how a fuzzer
// sees a loop without an end.

/** The region of the counters: the core is compiled with its statics behind it (asconfig.json, target coverage). */
export const COVERAGE_AT = 8192;
export const COVERAGE_BYTES = 65536;
/** u32, at the end of the region. It counts down; 0 is never reached when it is never set. */
const FUEL_AT = COVERAGE_AT + COVERAGE_BYTES - 4;

const SECTION_CUSTOM = 0;
const SECTION_IMPORT = 2;
const SECTION_CODE = 10;
const IMPORT_FUNCTION = 0;
const NAMES_OF_FUNCTIONS = 1;

const OP_LOOP = 0x03;
const OP_IF = 0x04;
const OP_ELSE = 0x05;
const OP_END = 0x0b;
const OP_BR_IF = 0x0d;

class Reader {
  constructor(bytes, at = 0, end = bytes.length) {
    Object.assign(this, { bytes, at, end });
  }

  u8() {
    return this.bytes[this.at++];
  }

  /** LEB128 whose value matters. */
  u32() {
    let result = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      result += (byte & 127) * scale;
      if (byte < 128) return result;
    }
  }

  /** LEB128, signed or not, whose value does not. */
  skip(times = 1) {
    for (let i = 0; i < times; i++) while (this.u8() >= 128);
  }

  text() {
    const length = this.u32();
    this.at += length;
    return Buffer.from(this.bytes.subarray(this.at - length, this.at)).toString();
  }
}

function leb(value) {
  const bytes = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}

/** Moves past the immediates of `op`. */
function skipImmediates(reader, op) {
  if (op >= 0x02 && op <= 0x04) return reader.skip();
  if (op === 0x0e) return reader.skip(reader.u32() + 1);
  if (op === 0x11) return reader.skip(2);
  if (op === 0x1c) return reader.skip(reader.u32());
  if ([0x0c, 0x0d, 0x10, 0x12, 0x3f, 0x40, 0x41, 0x42].includes(op) || (op >= 0x20 && op <= 0x26)) return reader.skip();
  if (op >= 0x28 && op <= 0x3e) return reader.skip(2);
  if (op === 0x43 || op === 0x44) {
    reader.at += op === 0x43 ? 4 : 8;
    return;
  }
  if (op === 0xfc) {
    const sub = reader.u32();
    // Saturating conversions have none; memory.init and .copy two; data.drop and memory.fill one.
    if (sub === 8 || sub === 10) return reader.skip(2);
    if (sub === 9 || sub === 11) return reader.skip();
    if (sub <= 7) return;
  } else if ([0x00, 0x01, 0x05, 0x0b, 0x0f, 0x1a, 0x1b].includes(op) || (op >= 0x45 && op <= 0xc4)) return;
  throw new Error(`opcode 0x${op.toString(16)} is not one that the instrumentation knows`);
}

/** `memory[at] += by`, the address as the store's offset. */
function add(at, by) {
  return [0x41, 0, 0x41, 0, 0x28, 2, ...leb(at), 0x41, by, 0x6a, 0x36, 2, ...leb(at)];
}

const MINUS_ONE = 0x7f;
const BURN = [...add(FUEL_AT, MINUS_ONE), 0x41, 0, 0x28, 2, ...leb(FUEL_AT), 0x45, OP_IF, 0x40, 0x00, OP_END];

/** Function names by index, from the name section. */
function functionNames(sections) {
  const names = new Map();
  for (const { id, reader } of sections) {
    if (id !== SECTION_CUSTOM || reader().text() !== 'name') continue;
    const section = reader();
    section.text();
    while (section.at < section.end) {
      const kind = section.u8();
      const next = section.u32() + section.at;
      if (kind === NAMES_OF_FUNCTIONS) {
        for (let left = section.u32(); left > 0; left--) names.set(section.u32(), section.text());
      }
      section.at = next;
    }
  }
  return names;
}

function importedFunctions(sections) {
  const section = sections.find(({ id }) => id === SECTION_IMPORT);
  if (!section) return 0;
  const reader = section.reader();
  let functions = 0;
  for (let left = reader.u32(); left > 0; left--) {
    reader.text();
    reader.text();
    const kind = reader.u8();
    if (kind === IMPORT_FUNCTION) {
      functions++;
      reader.skip();
    } else if (kind === 2) {
      // A memory's limits.
      const limits = reader.u8();
      reader.skip(limits & 1 ? 2 : 1);
    } else throw new Error(`an import of kind ${kind}`);
  }
  return functions;
}

/** One function body with its counters. `site()` gives the next counter's address. */
function instrumentBody(reader, site) {
  const out = [];
  const copy = (from, to) => {
    for (let i = from; i < to; i++) out.push(reader.bytes[i]);
  };
  const locals = reader.at;
  for (let groups = reader.u32(); groups > 0; groups--) reader.skip(2);
  copy(locals, reader.at);
  out.push(...add(site(), 1), ...BURN);
  let depth = 0;
  while (reader.at < reader.end) {
    const from = reader.at;
    const op = reader.u8();
    skipImmediates(reader, op);
    copy(from, reader.at);
    if (op >= 0x02 && op <= OP_IF) depth++;
    else if (op === OP_END) depth--;
    if (op === OP_LOOP) out.push(...add(site(), 1), ...BURN);
    else if (op === OP_IF || op === OP_ELSE || op === OP_BR_IF) out.push(...add(site(), 1));
    else if (op === OP_END && depth >= 0 && reader.bytes[reader.at] !== OP_END) out.push(...add(site(), 1));
  }
  return out;
}

/**
 * @param {Uint8Array} wasm
 * @returns {{ wasm: Buffer, sites: string[] }} the instrumented module, and the function of each counter
 */
export function instrument(wasm) {
  const sections = [];
  const top = new Reader(wasm, 8);
  while (top.at < wasm.length) {
    const id = top.u8();
    const size = top.u32();
    const at = top.at;
    top.at += size;
    sections.push({ id, at, size, reader: () => new Reader(wasm, at, at + size) });
  }
  const names = functionNames(sections);
  const firstFunction = importedFunctions(sections);
  const sites = [];
  const parts = [Buffer.from(wasm.subarray(0, 8))];
  for (const { id, at, size, reader } of sections) {
    let content = wasm.subarray(at, at + size);
    if (id === SECTION_CODE) {
      const code = reader();
      const bodies = code.u32();
      const out = [Buffer.from(leb(bodies))];
      for (let i = 0; i < bodies; i++) {
        const bytes = code.u32();
        const end = code.at + bytes;
        const name = names.get(firstFunction + i) ?? `function ${firstFunction + i}`;
        const body = instrumentBody(new Reader(wasm, code.at, end), () => {
          sites.push(name);
          return COVERAGE_AT + 4 * (sites.length - 1);
        });
        out.push(Buffer.from(leb(body.length)), Buffer.from(body));
        code.at = end;
      }
      content = Buffer.concat(out);
    }
    parts.push(Buffer.from([id, ...leb(content.length)]), Buffer.from(content));
  }
  if (4 * sites.length > COVERAGE_BYTES - 4) throw new Error(`${sites.length} counters do not fit the coverage region`);
  return { wasm: Buffer.concat(parts), sites };
}
