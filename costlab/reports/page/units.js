/* Numbers as people read them, by the rules of costlab/formatting/units.py: a test compares the two. */

const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];
const SECONDS = { 0: "s", 3: "ms", 6: "us", 9: "ns" };
const UNKNOWN = "-";
const FURTHER = 40; // digits that show whether a value is exactly halfway

/** Four significant digits and a prefix: 300774272 is `300.8 M`; below a thousand the number itself. */
export function short(count, unit = "") {
  if (count === null) return UNKNOWN;
  if (count < 1000) return `${count} ${unit}`.trim();
  let power = 1;
  while (power + 1 < PREFIXES.length && count >= 1000 ** (power + 1)) power += 1;
  let digits = fourDigits(count / 1000 ** power);
  if (digits.startsWith("1000") && power + 1 < PREFIXES.length) [power, digits] = [power + 1, "1.000"];
  return `${digits} ${PREFIXES[power]}${unit}`;
}

/** Four significant digits and a prefix: 0.0012345 is `1.234 ms`. */
export function seconds(value) {
  if (value === null) return UNKNOWN;
  const power = value ? ([0, 3, 6].find((p) => Math.abs(value) * 10 ** p >= 0.99995) ?? 9) : 0;
  return `${fourDigits(value * 10 ** power)} ${SECONDS[power]}`;
}

/** Seconds where the unit is "s", else a count or bytes ("B"). */
export function quantity(value, unit = "") {
  return unit === "s" ? seconds(value) : short(value, unit);
}

/** `33.8%`; a share too small to show is not zero. */
export function percent(share) {
  if (share === null) return UNKNOWN;
  if (share > 0 && share < 0.0005) return "<0.1%";
  return `${evenly((100 * share).toFixed(1), (100 * share).toFixed(1 + FURTHER))}%`;
}

function fourDigits(value) {
  return evenly(value.toPrecision(4), value.toPrecision(4 + FURTHER));
}

/** Rounds half to even, as Python does; JavaScript rounds half up. */
function evenly(rounded, exact) {
  const below = exact.slice(0, rounded.length);
  const between = /^50*$/.test(exact.slice(rounded.length));
  return between && "02468".includes(below.at(-1)) ? below : rounded;
}
