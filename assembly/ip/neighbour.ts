export function isNeighbour(node: u32): bool {
  return false;
}
export function neighbourTimer(node: u32): void {}
