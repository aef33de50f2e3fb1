// The one function the core calls out to: delivery to an inline socket. The core's state is consistent at every
// call, so the host may call any export from inside it.

@external("host", "event")
export declare function hostEvent(handle: u32, kind: u32, a: u32, b: u32): void;
