// The part of the WebAssembly JavaScript interface that the host uses: @types/node does not declare it, and the DOM
// library would bring a browser's globals along.
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number });
    readonly buffer: ArrayBuffer;
  }
  class Instance {
    constructor(module: Module, imports: Imports);
    readonly exports: Record<string, unknown>;
  }
  interface WebAssemblyInstantiatedSource {
    readonly module: Module;
    readonly instance: Instance;
  }
  class RuntimeError extends Error {}
  class Table {}
  class Global {}
  type Imports = Record<string, Record<string, unknown>>;
}
