// This process's surroundings, as the configuration needs them.
#pragma once

#include "config.hpp"

namespace greensup {

Environment environment_of_this_process();

/// Where the supervisor of a file would run, also when the file has mistakes elsewhere. Nothing if
/// not even that can be told.
std::string run_dir_of(const std::string& file, const Environment& environment);

}  // namespace greensup
