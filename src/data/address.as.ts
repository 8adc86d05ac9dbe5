// library
// Addresses kept in memory: u32 where addresses have 32 bits, else f64, so that JavaScript reads plain numbers from both
// (`heap.addresses`).

export const ADDRESS_BYTES: usize = sizeof<usize>();

// @ts-ignore: decorator
@inline export function loadAddress(base: usize, index: usize): usize {
  const at = base + index * ADDRESS_BYTES;
  return sizeof<usize>() == 4 ? <usize>load<u32>(at) : <usize>load<f64>(at);
}

// @ts-ignore: decorator
@inline export function storeAddress(base: usize, index: usize, address: usize): void {
  const at = base + index * ADDRESS_BYTES;
  if (sizeof<usize>() == 4) store<u32>(at, <u32>address);
  else store<f64>(at, <f64>address);
}
