// Words for numbers and times, and text of strangers.

/** Control characters shown as such, and those that change the direction of what follows. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

// Everything of Unicode's categories Cc and Cf but tab and line feed.
const HIDDEN = /(?![\t\n])[\p{Cc}\p{Cf}]/gu;

export function seconds(value: number): string {
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 60 && Number.isInteger(value)) return `${value} s`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const [whole, days] = [Math.round(value), Math.floor(value / 86400)];
  const [hours, minutes, rest] = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (whole >= 3600) return `${hours} h ${minutes} min`;
  return rest === 0 || minutes >= 10 ? `${minutes} min` : `${minutes} min ${rest} s`;
}

/** What is meant by the time of a job as a whole. */
export const WALL_TIME = "From its acceptance to its end, or to now: with waiting, starting and all attempts";

export function ago(time: number, now: number): string {
  const past = (now - time) / 1000;
  if (past < 1) return "now";
  const value = past < 60 ? `${Math.floor(past)} s` : past < 3600 ? `${Math.floor(past / 60)} min` : "";
  if (value) return `${value} ago`;
  return past < 86400 ? `${Math.floor(past / 3600)} h ago` : `${Math.floor(past / 86400)} d ago`;
}

export function until(time: number, now: number): string {
  return time <= now ? "soon" : `in about ${seconds(Math.max(1, Math.round((time - now) / 1000)))}`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
}

/** From when to when, to the minute; on which day, where it does not say by itself. */
export function span(from: number, to: number, hasDay = false): string {
  return `${minute(from, hasDay)} to ${minute(to)} UTC`;
}

export function minute(time: number, hasDay = false): string {
  const text = new Date(time).toISOString();
  return hasDay ? text.slice(5, 16).replace("T", " ") : text.slice(11, 16);
}

export function exact(time: number): string {
  return new Date(time).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}
