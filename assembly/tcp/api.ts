export function listen(addr: u32, port: u32, backlog: u32, flags: u32): i32 {
  return -1;
}
export function accept(listener: i32): i32 {
  return -1;
}
export function connect(addr: u32, port: u32, localAddr: u32, localPort: u32, flags: u32): i32 {
  return -1;
}
export function send(handle: i32, addr: u32, len: u32): i32 {
  return -1;
}
export function sendv(handle: i32, iov: u32, n: u32): i32 {
  return -1;
}
export function recv(handle: i32, iov: u32, maxPieces: u32): i32 {
  return -1;
}
export function shutdown(handle: i32): i32 {
  return -1;
}
export function close(handle: i32): i32 {
  return -1;
}
export function abort(handle: i32): i32 {
  return -1;
}
export function setOption(handle: i32, option: u32, value: f64): i32 {
  return -1;
}
export function getOption(handle: i32, option: u32): f64 {
  return -1;
}
export function info(handle: i32, at: u32): i32 {
  return -1;
}
export function connectionAt(index: u32, at: u32): i32 {
  return -1;
}
