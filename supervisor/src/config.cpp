#include "config.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config_check.hpp"
#include "config_reader.hpp"
#include "config_schema.hpp"
#include "toml_tree.hpp"
#include "units.hpp"

namespace greensup {
namespace {

constexpr std::int64_t format_version = 1;
constexpr std::uintmax_t largest_file = 4U << 20;

/// "My App.toml" -> "my-app": the file's stem, made a valid name.
std::string name_from(const std::string& file) {
    auto name = std::filesystem::path(file).stem().string();
    for (auto& c : name) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good) c = '-';
    }
    name.erase(0, name.find_first_not_of("-_"));
    name.resize(std::min<std::size_t>(name.size(), 32));
    return name.empty() ? "greensup" : name;
}

std::string default_run_dir(const std::string& name, const Environment& environment) {
    const auto runtime = environment.variables.find("XDG_RUNTIME_DIR");
    if (runtime != environment.variables.end() && runtime->second.starts_with('/'))
        return runtime->second + "/greensup/" + name;
    if (environment.uid == 0) return "/run/greensup/" + name;
    return "/tmp/greensup-" + std::to_string(environment.uid) + "/" + name;
}

/// The sections that this version reads, and those it knows of.
const std::vector<std::string> sections = {"version", "supervisor", "sockets",
                                           "queues",  "pipes",      "workers"};
const std::vector<std::string> later_sections = {"defaults", "templates", "vars",  "include",
                                                 "use",      "teams",     "tasks", "metrics",
                                                 "events",   "web",       "log"};

void check_top_level(Reader& reader, const TomlNode& root) {
    for (const auto& entry : root.entries) {
        const auto listed = [&](const std::vector<std::string>& names) {
            return std::find(names.begin(), names.end(), entry.key) != names.end();
        };
        if (is_private(entry.key) || listed(sections)) continue;
        const bool table = entry.value.type == TomlNode::Type::table;
        if (!table || listed(later_sections)) {
            report_unknown(reader, entry, "", entry.key, sections, later_sections, {});
            continue;
        }
        const auto meant = nearest(entry.key, sections);
        reader.report(entry.place, "E002", entry.key,
                      "unknown section [" + entry.key + "]" +
                          (meant ? "; did you mean [" + *meant + "]?" : ""),
                      meant ? std::string()
                            : "sections: [supervisor] [sockets.NAME] [queues.NAME] [pipes.NAME] "
                              "[workers.NAME]");
    }
    const auto* version = root.find("version");
    if (version == nullptr) {
        reader.report({1, 1}, "E010", "version", "required",
                      "write version = 1 at the top of the file");
        return;
    }
    const Field field(reader, version->value, "version");
    if (version->value.type != TomlNode::Type::integer) {
        field.wrong_type("integer", "write version = 1");
    } else if (version->value.integer != format_version) {
        field.fail("E004", "must be 1, got " + brief(version->value),
                   "this greensup reads version 1 of the format");
    }
}

/// Reads all [KIND.NAME] sections.
template <class Section>
void read_sections(Reader& reader, const TomlNode& root, const std::string& kind,
                   const Schema<Section>& schema, std::vector<Section>& into) {
    const auto* group = root.find(kind);
    if (group == nullptr) return;
    if (group->value.type != TomlNode::Type::table) {
        Field(reader, group->value, kind).wrong_type("table", "write [" + kind + ".NAME]");
        return;
    }
    for (const auto& entry : group->value.entries) {
        if (is_private(entry.key)) continue;
        const auto path = kind + "." + entry.key;
        if (!check_name(reader, entry.place, path, entry.key)) continue;
        if (kind == "workers") reader.set_built_in("worker.name", entry.key);
        Section section;
        section.name = entry.key;
        read_section(reader, schema, entry, path, section);
        into.push_back(std::move(section));
    }
    reader.drop_built_in("worker.name");
}

void read_supervisor(Reader& reader, const TomlNode& root, Config& config) {
    auto& supervisor = config.supervisor;
    if (const auto* entry = root.find("supervisor"))
        read_section(reader, supervisor_schema(), *entry, "supervisor", supervisor);
    if (supervisor.name.empty()) supervisor.name = name_from(config.file);
    if (supervisor.run_dir.empty())
        supervisor.run_dir = default_run_dir(supervisor.name, reader.environment());
}

Diagnostic unreadable(const std::string& filename, std::string why) {
    return {filename, {}, "E011", "", "cannot read: " + std::move(why), "", ""};
}

template <class Section>
const Section* find_by_name(const std::vector<Section>& all, std::string_view name) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Section& s) { return s.name == name; });
    return found == all.end() ? nullptr : &*found;
}

}  // namespace

std::string to_text(const Endpoint& endpoint) {
    switch (endpoint.family) {
        case Endpoint::Family::unix_path:
            return "unix:" + endpoint.path;
        case Endpoint::Family::unix_abstract:
            return "unix:@" + endpoint.path;
        case Endpoint::Family::tcp:
            break;
    }
    const bool v6 = endpoint.host.find(':') != std::string::npos;
    return "tcp://" + (v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" +
           std::to_string(endpoint.port);
}

PipeEnd pipe_end(const std::string& text) {
    const auto dot = text.find('.');
    if (dot == std::string::npos) return {text, ""};
    return {text.substr(0, dot), text.substr(dot + 1)};
}

int resolve(const Amount& amount, int count) {
    const auto exact = amount.percent ? std::ceil(count * amount.value / 100) : amount.value;
    return std::max(1, static_cast<int>(exact));
}

const SocketConfig* Config::socket(std::string_view name) const {
    return find_by_name(sockets, name);
}
const QueueConfig* Config::queue(std::string_view name) const { return find_by_name(queues, name); }
const PipeConfig* Config::pipe(std::string_view name) const { return find_by_name(pipes, name); }
const WorkerConfig* Config::worker(std::string_view name) const {
    return find_by_name(workers, name);
}

Result<Config> read_config(std::string_view text, const std::string& filename,
                           const Environment& environment) {
    const SourceText source(filename, text);
    const auto document = parse_toml(source);
    Config config;
    config.file = (std::filesystem::path(environment.working_directory) / filename)
                      .lexically_normal()
                      .string();
    config.directory = std::filesystem::path(config.file).parent_path().string();

    Reader reader(source, environment, config.directory);
    reader.set_built_in("config.dir", config.directory);
    check_top_level(reader, document.root);
    read_supervisor(reader, document.root, config);
    reader.set_built_in("run.dir", config.supervisor.run_dir);
    read_sections(reader, document.root, "sockets", socket_schema(), config.sockets);
    read_sections(reader, document.root, "queues", queue_schema(), config.queues);
    read_sections(reader, document.root, "pipes", pipe_schema(), config.pipes);
    read_sections(reader, document.root, "workers", worker_schema(), config.workers);
    if (config.workers.empty() && reader.mistakes().empty())
        reader.report({1, 1}, "E010", "workers", "required",
                      "write at least one [workers.NAME] with command = [\"./program\"]");
    complete(reader, config);
    check(reader, config);
    config.places = reader.places();

    auto mistakes = std::move(reader.mistakes());
    if (document.damaged())
        // What is missing may have stood in the lines that had to be skipped.
        std::erase_if(mistakes,
                      [](const Diagnostic& d) { return d.code == "E010" || d.code == "E007"; });
    mistakes.insert(mistakes.end(), document.mistakes.begin(), document.mistakes.end());
    if (mistakes.empty()) return config;
    sort_by_place(mistakes);
    return mistakes;
}

Result<Config> read_config_file(const std::string& filename, const Environment& environment) {
    const auto path = std::filesystem::path(environment.working_directory) / filename;
    std::error_code error;
    if (std::filesystem::is_directory(path, error))
        return unreadable(filename, "it is a directory");
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    if (!file) return unreadable(filename, std::strerror(errno));
    std::string text;
    for (auto it = std::istreambuf_iterator<char>(file); it != std::istreambuf_iterator<char>();
         ++it) {
        if (text.size() >= largest_file) return unreadable(filename, "it is larger than 4MiB");
        text += *it;
    }
    return read_config(text, filename, environment);
}

}  // namespace greensup
