/** Takes a free object of at least `size` bytes, count 1; 0 when there is none. */
export function zbufAlloc(size: u32): u32 {
  return 0;
}
/** Unchecked: for references the core itself holds. */
export function zbufRef(addr: u32): void {}
/** Unchecked: gives up one reference the core itself holds. */
export function zbufUnref(addr: u32): void {}
/** 0 when [addr, addr + len) lies in one live object, else -EFAULT (foreign) or -EINVAL (free, or past the end). */
export function zbufCheck(addr: u32, len: u32): i32 {
  return 0;
}
/** End of the object that holds `addr`; 0 when foreign. */
export function zbufEnd(addr: u32): u32 {
  return 0;
}
export function zbufCount(addr: u32): u32 {
  return 0;
}
