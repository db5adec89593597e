// Draws again only what is shown with other values.
import { Component, type FunctionComponent, type VNode } from "preact";

export function memo<P extends object>(Drawn: FunctionComponent<P>) {
  return class extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return (Object.keys(next) as (keyof P)[]).some((key) => next[key] !== this.props[key]);
    }

    override render(): VNode {
      return <Drawn {...(this.props as P)} />;
    }
  };
}
