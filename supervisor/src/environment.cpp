#include "environment.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string_view>
#include <unistd.h>

namespace greensup {
namespace {

int usable_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return std::max(1, CPU_COUNT(&set));
}

std::uint64_t largest_pipe() {
    std::uint64_t bytes = 0;
    std::ifstream("/proc/sys/fs/pipe-max-size") >> bytes;
    return bytes > 0 ? bytes : Environment{}.largest_pipe;
}

/// The section [supervisor], and what stands before the first section, made to be valid as far as
/// that is possible without the rest.
std::string head_of(std::istream& file) {
    std::string text = "version = 1\n";
    bool is_wanted = true;
    for (std::string line; std::getline(file, line);) {
        const auto begin = std::min(line.find_first_not_of(" \t"), line.size());
        const auto rest = std::string_view(line).substr(begin);
        if (rest.starts_with('[')) is_wanted = rest.starts_with("[supervisor]");
        if (is_wanted && !rest.starts_with("version")) text += line + "\n";
    }
    return text + "[workers.x]\ncommand = [\"/x\"]\n";
}

}  // namespace

Environment environment_of_this_process() {
    Environment environment;
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text = *entry;
        const auto equals = text.find('=');
        if (equals != std::string_view::npos)
            environment.variables.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    std::error_code error;
    environment.working_directory = std::filesystem::current_path(error).string();
    environment.cpus = usable_cpus();
    environment.uid = ::geteuid();
    environment.largest_pipe = largest_pipe();
    return environment;
}

std::string run_dir_of(const std::string& file, const Environment& environment) {
    if (const auto config = read_config_file(file, environment)) return config->supervisor.run_dir;
    // Whoever has just broken his file still wants to see what runs, and to stop it.
    std::ifstream stream(std::filesystem::path(environment.working_directory) / file);
    if (!stream) return {};
    if (const auto config = read_config(head_of(stream), file, environment))
        return config->supervisor.run_dir;
    return {};
}

}  // namespace greensup
