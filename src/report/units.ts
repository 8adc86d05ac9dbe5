// Numbers as people read them: three or four digits, a unit with a narrow space left plain for terminals.

const COUNT_UNITS = ["", "k", "M", "G", "T"];
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** 950, 35.1 k, 1.2 M; "–" for what is no number. */
export function formatCount(count: number): string {
  return scaled(count, COUNT_UNITS, Number.isInteger(count) ? 0 : 1);
}

/** 35.1 k/s. */
export function formatRate(perSecond: number): string {
  const text = formatCount(perSecond >= 100 ? Math.round(perSecond) : perSecond);
  return /\d$/.test(text) ? `${text} /s` : `${text}/s`;
}

/** Decimal units: 512 B, 4.2 GB. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, BYTE_UNITS, 0);
}

/** 45 ms, 3.2 s, 1 m 20 s, 2 h 05 m, 3 d 04 h. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0) return `-${formatSeconds(-seconds)}`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number): string => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

/** A number without unit in at most `digits` significant digits: 0.7421, 12.3, 1.2e-7. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : String(value).replace("Infinity", "∞");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4)
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  return String(Number(value.toPrecision(Math.max(digits, Math.ceil(Math.log10(size + 1))))));
}

function scaled(value: number, units: readonly string[], smallDigits: number): string {
  if (!Number.isFinite(value)) return "–";
  let unit = 0;
  let size = Math.abs(value);
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  const digits = unit === 0 ? smallDigits : size < 99.95 ? 1 : 0;
  return `${value < 0 ? "-" : ""}${size.toFixed(digits)} ${units[unit]}`.trimEnd();
}
