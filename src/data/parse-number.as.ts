// library
// Numbers and times from text, to float64.

export let valid: bool = false;

// @ts-ignore: decorator
@inline function digitAt(at: usize): u32 {
  return <u32>load<u8>(at) - 48;
}

/** 10^k for k ≥ 0; exact up to 10^22. */
function power(k: i32): f64 {
  let result: f64 = 1;
  for (let i = min(k, 400); i > 0; i--) result *= 10;
  return result;
}

/**
 * A decimal number with optional sign, fraction and exponent, over the whole text. Exact to the last bit up to 15 digits
 * and 10^±22, else within a few units of the last place. `valid` says whether the text is a number; the empty one is NaN.
 */
export function parseNumber(at: usize, length: usize): f64 {
  valid = true;
  if (length == 0) return NaN;
  const end = at + length;
  const first: u32 = load<u8>(at);
  if (first == 45 || first == 43) at++;
  let mantissa: u64 = 0;
  let digits: i32 = 0;
  let exponent: i32 = 0;
  let fraction = false;
  for (; at < end; at++) {
    const digit = digitAt(at);
    if (digit < 10) {
      digits++;
      if (mantissa < 100000000000000000) {
        mantissa = mantissa * 10 + <u64>digit;
        if (fraction) exponent--;
      } else if (!fraction) exponent++;
    } else if (load<u8>(at) == 46 && !fraction) fraction = true;
    else break;
  }
  valid = digits > 0;
  if (at < end && (load<u8>(at) | 32) == 101) {
    at++;
    const sign: u32 = at < end ? load<u8>(at) : 0;
    if (sign == 45 || sign == 43) at++;
    let e: i32 = 0;
    if (at == end) valid = false;
    for (; at < end && digitAt(at) < 10; at++) e = min(e * 10 + <i32>digitAt(at), 100000);
    exponent += sign == 45 ? -e : e;
  }
  if (at != end) valid = false;
  if (!valid) return NaN;
  let x = <f64>mantissa;
  if (exponent > 0 && mantissa != 0) x *= power(exponent);
  // In two steps where the power alone would overflow.
  if (exponent < -300) {
    x /= power(300);
    exponent += 300;
  }
  if (exponent < 0) x /= power(-exponent);
  return first == 45 ? -x : x;
}

/** Days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"). */
function daysFromCivil(year: i32, month: i32, day: i32): i32 {
  const y = month <= 2 ? year - 1 : year;
  const era = (y >= 0 ? y : y - 399) / 400;
  const yoe = y - era * 400;
  const doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

function daysInMonth(year: i32, month: i32): i32 {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/** x · scale; a scale like 10⁻³ divides, which rounds once only. */
// @ts-ignore: decorator
@inline export function scaled(x: f64, scale: f64): f64 {
  return scale < 1 ? x / nearest<f64>(1 / scale) : x * scale;
}

let cursor: usize = 0;

/** `count` digits at the cursor; −1 and not valid where they are missing or end early. */
function digitsAtCursor(count: i32, end: usize): i32 {
  let value: i32 = 0;
  for (let i = 0; i < count; i++) {
    if (cursor >= end || digitAt(cursor) > 9) {
      valid = false;
      return -1;
    }
    value = value * 10 + <i32>digitAt(cursor++);
  }
  return value;
}

// @ts-ignore: decorator
@inline function skip(byte: u32, end: usize): bool {
  if (cursor >= end || <u32>load<u8>(cursor) != byte) return false;
  cursor++;
  return true;
}

/**
 * Milliseconds since 1970: ISO 8601 ("2001-01-17", "2001-01-17T15:35", "… 15:35:00.5Z", "…+02:00"; UTC where no zone is
 * given), or a number times `scale`.
 */
export function parseTime(at: usize, length: usize, scale: f64): f64 {
  if (length < 10 || load<u8>(at, 4) != 45 || load<u8>(at, 7) != 45) {
    return scaled(parseNumber(at, length), scale);
  }
  const end = at + length;
  valid = true;
  cursor = at;
  const year = digitsAtCursor(4, end);
  skip(45, end);
  const month = digitsAtCursor(2, end);
  skip(45, end);
  const day = digitsAtCursor(2, end);
  if (month < 1 || month > 12 || day < 1 || (valid && day > daysInMonth(year, month))) valid = false;
  let seconds: f64 = 0;
  if (cursor < end) {
    if (!skip(84, end) && !skip(32, end)) valid = false;
    const hour = digitsAtCursor(2, end);
    if (!skip(58, end)) valid = false;
    const minute = digitsAtCursor(2, end);
    let second: i32 = 0;
    if (skip(58, end)) second = digitsAtCursor(2, end);
    if (hour > 23 || minute > 59 || second > 59) valid = false;
    seconds = <f64>(hour * 3600 + minute * 60 + second);
    if (skip(46, end)) {
      let unit: f64 = 0.1;
      if (cursor >= end || digitAt(cursor) > 9) valid = false;
      for (; cursor < end && digitAt(cursor) < 10; cursor++) {
        seconds += <f64>digitAt(cursor) * unit;
        unit /= 10;
      }
    }
    if (!skip(90, end) && cursor < end) {
      const west = load<u8>(cursor++) == 45;
      if (!west && load<u8>(cursor - 1) != 43) valid = false;
      const zoneHour = digitsAtCursor(2, end);
      skip(58, end);
      const zoneMinute = digitsAtCursor(2, end);
      if (zoneHour > 23 || zoneMinute > 59) valid = false;
      const zone = <f64>(zoneHour * 3600 + zoneMinute * 60);
      seconds += west ? zone : -zone;
    }
  }
  if (cursor != end) valid = false;
  return valid ? nearest<f64>((<f64>daysFromCivil(year, month, day) * 86400 + seconds) * 1000) : NaN;
}
