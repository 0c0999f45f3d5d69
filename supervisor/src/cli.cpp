// The only file that includes CLI11.
#include "cli.hpp"

#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include <green/log.hpp>

#include "refusal.hpp"
#include "supervisor.hpp"
#include "verbs.hpp"

namespace greensup {
namespace {

constexpr const char* examples = R"(
Examples:
  greensup check workers.toml      what is wrong with the file, all of it at once
  greensup start workers.toml      run it, in the foreground
  greensup status                  of the supervisor of ./workers.toml
  greensup status -f shop.toml --json
  greensup reload                  take over what has changed in the file
  kill -HUP PID                    the same, and replace every worker one by one
  greensup shutdown                let everybody finish, then stop

Exit codes:
  0 done                     1 failed                3 the configuration has mistakes
  2 wrong usage              4 no supervisor found   7 superseded by a newer reload
  11 a roll failed; the old workers keep serving     8 not allowed
  start: 73 run directory, 75 another one runs there, 76 address, 70 internal
)";

/// What all verbs that speak to a running supervisor have in common.
void add_target(CLI::App& verb, Target& target) {
    auto* file = verb.add_option("FILE,-f,--file", target.file,
                                 "the file it was started with (default: workers.toml)");
    verb.add_option("--run-dir", target.run_dir, "its run directory")->excludes(file);
}

/// What is wrong, as all our errors say it, and whose help helps.
std::string usage_error(const CLI::App* app, const CLI::Error& error) {
    std::string what = error.what();
    if (what.starts_with("--file")) what.replace(0, 6, "FILE");  // which is how most write it
    std::string whose;
    for (const auto* verb : app->get_subcommands([](const auto* verb) { return verb->parsed(); }))
        whose += " " + verb->get_name();
    return "greensup: " + what + "\n    hint: see greensup" + whose + " --help\n";
}

int run(CLI::App& app, int argc, const char* const* argv) {
    Target target;
    std::string file;
    bool as_json = false;
    bool json_log = false;
    bool no_wait = false;
    bool fast = false;

    auto* start = app.add_subcommand("start", "run the workers of a file, in the foreground");
    start->add_option("FILE,-f,--file", file, "what to run")->required();
    start->add_flag("--json-log", json_log, "log in JSON instead of logfmt");
    auto* check = app.add_subcommand("check", "read a file and list its mistakes");
    check->add_option("FILE,-f,--file", file, "what to read (default: workers.toml)");
    check->add_flag("--json", as_json, "as a JSON array");
    auto* status = app.add_subcommand("status", "show what runs");
    add_target(*status, target);
    status->add_flag("--json", as_json, "as a JSON document");
    auto* again = app.add_subcommand("reload", "read the file again and do what has changed");
    add_target(*again, target);
    again->add_flag("--no-wait", no_wait, "do not wait until it is done");
    again->add_flag("--json", as_json, "answer in JSON");
    auto* shutdown = app.add_subcommand("shutdown", "stop everything and wait until it is gone");
    add_target(*shutdown, target);
    shutdown->add_flag("--fast", fast, "give nobody more than a second");

    const std::string verb = argc > 1 ? argv[1] : "-";
    if (!verb.empty() && verb.front() != '-' &&
        app.get_subcommands([&](const auto* one) { return one->get_name() == verb; }).empty()) {
        std::string verbs;
        for (const auto* one : app.get_subcommands({})) verbs += " " + one->get_name();
        (void)std::fprintf(stderr,
                           "greensup: no verb \"%s\"; there are%s\n    hint: see greensup --help\n",
                           verb.c_str(), verbs.c_str());
        return number(Code::usage);
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? number(Code::ok) : number(Code::usage);
    }
    if (check->parsed()) return check_file(file, as_json);
    if (status->parsed()) return show_status(target, as_json);
    if (again->parsed()) return reload(target, !no_wait, as_json);
    if (shutdown->parsed()) return shut_down(target, fast);
    if (json_log) green::log::set_format(green::log::Format::json);
    return start_supervisor(file);
}

}  // namespace

int run_command_line(int argc, const char* const* argv) {
    CLI::App app{
        "greensup starts worker processes from a file and replaces them without dropping "
        "a request or a message.",
        "greensup"};
    app.footer(examples);
    app.set_version_flag("--version", "greensup " GREENSUP_VERSION);
    app.require_subcommand(1);
    app.failure_message(usage_error);
    try {
        return run(app, argc, argv);
    } catch (const std::exception& error) {
        (void)std::fprintf(stderr, "greensup: internal error: %s\n", error.what());
        return number(Code::internal);
    }
}

}  // namespace greensup
