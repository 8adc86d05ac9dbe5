// CSV text to fields: where the text of each wanted field lies, row by row. The text ends with a line break; up to 16
// bytes beyond it are read, never used.
import { loadAddress, storeAddress } from "./address.as";
import { firstBytes } from "./feature-hash.as";

const NEWLINE: u32 = 10;
const RETURN: u32 = 13;
const SPACE: u32 = 32;
/** In a length: the text still holds doubled quotes. */
const ESCAPED: u32 = 0x80000000;

// Codes of rows; the texts are in csv-decoder.ts.
const GOOD: u8 = 0;
const WRONG_FIELD_COUNT: u8 = 1;
const BAD_QUOTE: u8 = 2;

let delimiters: v128 = i8x16.splat(0);
let quotes: v128 = i8x16.splat(0);
const newlines: v128 = i8x16.splat(10);

// @ts-ignore: decorator
@inline function nextStop(p: usize, stop: v128): usize {
  let found: i32;
  let text = v128.load(p);
  while ((found = i8x16.bitmask(v128.or(i8x16.eq(text, stop), i8x16.eq(text, newlines)))) == 0) {
    p += 16;
    text = v128.load(p);
  }
  return p + <usize>ctz(found);
}

/** Whether the last `closingQuote` met doubled quotes. */
let sawEscape: bool = false;

/** The quote that closes a field whose text starts at `p`; 0 where there is none before `end` or, unless fields may hold line breaks, before the end of the line. */
function closingQuote(p: usize, end: usize, quote: u32, multiline: bool): usize {
  sawEscape = false;
  while (p < end) {
    p = nextStop(p, quotes);
    if (<u32>load<u8>(p) == quote) {
      if (<u32>load<u8>(p, 1) != quote) return p;
      sawEscape = true;
      p += 2;
    } else {
      if (!multiline) return 0;
      p++;
    }
  }
  return 0;
}

/**
 * Scans up to `maxRows` rows of [from, end). Wanted field f of row r (`wanted[field]` ≥ 0 gives f) goes to
 * starts[f · maxRows + r] and lengths likewise; `rowStarts` (bytes behind `from`), `codes` and `details` (fields found)
 * hold one entry a row. Blank lines do not count. Returns the rows; `result` gets where the next row starts and whether `unescape` is needed.
 * `isLast`: no text follows, so a row cut off at `end` is bad, else it is left for later.
 */
export function scan(
  from: usize, end: usize, delimiter: u32, quote: u32, trim: bool, multiline: bool, isLast: bool,
  fields: i32, wanted: usize, missing: usize, missingCount: i32, maxRows: i32,
  starts: usize, lengths: usize, rowStarts: usize, codes: usize, details: usize, result: usize,
): i32 {
  delimiters = i8x16.splat(<i8>delimiter);
  quotes = i8x16.splat(<i8>quote);
  let p = from;
  let rows: i32 = 0;
  let escapes: u32 = 0;

  while (p < end && rows < maxRows) {
    const rowStart = p;
    if (<u32>load<u8>(p) == NEWLINE) {
      p++;
      continue;
    }
    if (<u32>load<u8>(p) == RETURN && <u32>load<u8>(p, 1) == NEWLINE) {
      p += 2;
      continue;
    }
    let field: i32 = 0;
    let code = GOOD;
    let ended = false;
    let cutOff = false;
    while (!ended) {
      if (trim) while (<u32>load<u8>(p) == SPACE) p++;
      let textStart = p;
      let textEnd: usize;
      let flag: u32 = 0;
      if (<u32>load<u8>(p) == quote) {
        textStart = p + 1;
        textEnd = closingQuote(textStart, end, quote, multiline);
        if (textEnd == 0) {
          code = BAD_QUOTE;
          cutOff = multiline && !isLast;
          break;
        }
        if (sawEscape) flag = ESCAPED;
        p = textEnd + 1;
        if (trim) while (<u32>load<u8>(p) == SPACE) p++;
        if (<u32>load<u8>(p) == RETURN && <u32>load<u8>(p, 1) == NEWLINE) p++;
        const stop: u32 = load<u8>(p);
        if (stop != delimiter && stop != NEWLINE) {
          code = BAD_QUOTE;
          break;
        }
        ended = stop == NEWLINE;
      } else {
        p = nextStop(p, delimiters);
        textEnd = p;
        ended = <u32>load<u8>(p) == NEWLINE;
        if (ended && textEnd > textStart && <u32>load<u8>(textEnd - 1) == RETURN) textEnd--;
        if (trim) while (textEnd > textStart && <u32>load<u8>(textEnd - 1) == SPACE) textEnd--;
      }
      p++;
      if (field < fields) {
        const slot = load<i32>(wanted + (<usize>field << 2));
        if (slot >= 0) {
          let length = <u32>(textEnd - textStart);
          if (missingCount > 0 && length <= 8 && isMissing(textStart, length, missing, missingCount)) length = 0;
          const at = <usize>slot * <usize>maxRows + <usize>rows;
          storeAddress(starts, at, textStart);
          store<u32>(lengths + (at << 2), length | flag);
          escapes |= flag;
        }
      }
      field++;
    }
    if (cutOff) {
      p = rowStart;
      break;
    }
    if (code == BAD_QUOTE) p = nextStop(p, newlines) + 1;
    else if (field != fields) code = WRONG_FIELD_COUNT;
    const at = <usize>rows << 2;
    store<u32>(rowStarts + at, <u32>(rowStart - from));
    store<u8>(codes + <usize>rows, code);
    store<u32>(details + at, <u32>field);
    rows++;
  }
  store<u32>(result, <u32>(p - from));
  store<u32>(result, escapes, 4);
  return rows;
}

function isMissing(at: usize, length: u32, missing: usize, count: i32): bool {
  const word = firstBytes(load<u64>(at), <u64>length);
  for (let i = 0; i < count; i++) {
    const marker = missing + (<usize>i << 4);
    if (load<u64>(marker) == word && load<u32>(marker, 8) == length) return true;
  }
  return false;
}

/** Makes doubled quotes single, in place, in the fields that hold some. */
export function unescape(starts: usize, lengths: usize, count: i32, quote: u32): void {
  for (let i = 0; i < count; i++) {
    const length = load<u32>(lengths + (<usize>i << 2));
    if ((length & ESCAPED) == 0) continue;
    let from = loadAddress(starts, i);
    const end = from + <usize>(length & ~ESCAPED);
    let to = from;
    const start = from;
    while (from < end) {
      const byte = load<u8>(from);
      store<u8>(to, byte);
      to++;
      from += <u32>byte == quote ? 2 : 1;
    }
    store<u32>(lengths + (<usize>i << 2), <u32>(to - start));
  }
}
