// Shows and clicks of the rows of a batch, for accessors: how often each id occurred, and in how many samples that were
// clicked on. Rows are known by handles, `step` apart from `first`: that of the id numbered i is first + i · step.

/**
 * Adds the occurrences of a look-up, `handles` u32 [n], `width` in each sample, to `counts`: pairs f32 (shows, clicks) by the
 * ids' numbers. `zero` is the handle of no id; `labels` and `weights` are f32 a sample, samples of weight 0 are none, and
 * `labels` is 0 where nothing is clicked on.
 */
export function countShows(
  handles: usize, n: u32, width: u32, labels: usize, weights: usize, first: u32, step: u32, zero: u32, counts: usize,
): void {
  for (let i: u32 = 0, sample: usize = 0; i < n; i += width, sample += 4) {
    if (load<f32>(weights + sample) == 0) {
      handles += <usize>width << 2;
      continue;
    }
    const label = labels == 0 ? <f32>0 : load<f32>(labels + sample);
    for (const end = handles + (<usize>width << 2); handles < end; handles += 4) {
      const handle = load<u32>(handles);
      if (handle == zero) continue;
      const at = counts + (<usize>((handle - first) / step) << 3);
      store<f32>(at, load<f32>(at) + 1);
      store<f32>(at, load<f32>(at, 4) + label, 4);
    }
  }
}

/** The counts of `n` rows by handle, pairs `stride` bytes apart. */
export function takeCounts(handles: usize, n: u32, first: u32, step: u32, counts: usize, out: usize, stride: usize): void {
  for (const end = handles + (<usize>n << 2); handles < end; handles += 4, out += stride) {
    store<u64>(out, load<u64>(counts + (<usize>((load<u32>(handles) - first) / step) << 3)));
  }
}
