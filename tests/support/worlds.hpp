#pragma once
// The real kernel and the simulated one, side by side: what a test finds in one must hold in the
// other.

#include <functional>

namespace tests {

/// Runs the body in the real world, in a calm simulation, and in some rough ones. In the rough ones
/// what was sent need not be there yet.
void in_every_world(const std::function<void()>& body);

/// The same without the rough ones: for what Linux does on a loopback interface, and no promise.
void in_quiet_worlds(const std::function<void()>& body);

}  // namespace tests
