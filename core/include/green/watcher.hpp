#pragma once
// Callbacks for what happens: the loop below the greenlets, for adapters to libraries that bring
// callbacks of their own. Programs of greenlets rarely need it.

#include <green/loop_watchers.hpp>
#include <green/watcher_base.hpp>
#include <green/world_watchers.hpp>
