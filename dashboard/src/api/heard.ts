// When the server was heard last.
export const heard = { at: 0 };

export function hear(): void {
  heard.at = Date.now();
}
