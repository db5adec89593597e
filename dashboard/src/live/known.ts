// Up to when the page knows how things are.
import { heard } from "../api/heard";
import { now, store } from "../store";
import { jobs } from "./jobs";

/** The time for whatever is told to go on: now, or while the connection is lost when the server was heard last. */
export const known = store(now.get());
now.follow(() => {
  const isLost = jobs.get().connection.state === "lost";
  known.set(isLost ? Math.min(now.get(), heard.at) : now.get());
});
