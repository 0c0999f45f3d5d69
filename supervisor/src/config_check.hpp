// What one key cannot know by itself: names that must exist, values that must fit together.
#pragma once

#include "config.hpp"
#include "config_reader.hpp"

namespace greensup {

/// Fills in defaults that depend on other keys.
void complete(const Reader& reader, Config& config);

/// Checks across keys and sections, reporting into `reader`; also takes the conditions off `after`.
void check(Reader& reader, Config& config);

}  // namespace greensup
