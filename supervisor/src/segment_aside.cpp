#include "segment_aside.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "queue/segment.hpp"
#include "queue/slot.hpp"
#include "refusal.hpp"

namespace greensup {
namespace {

namespace shm = green::ipc::shm;
namespace sys = green::sys;

/// How many messages are in a segment that nobody uses; nothing if it cannot be told.
std::optional<std::uint64_t> messages_in(const std::string& path) {
    try {
        const auto segment = shm::Segment::open_to_look(path);
        for (std::uint32_t index = 0; index < segment.config().capacity; ++index)
            if (!shm::is_legal(shm::SlotWord::of(segment.slot(index).state.load()),
                               segment.config().members))
                return std::nullopt;
        return messages_of(shm::status(segment));
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

void tell_of_aside(const std::string& aside, const std::string& path, const std::string& queue,
                   bool is_in_file) {
    const std::string maker = "another version of greensup has made it";
    const auto how = how_to_get_at(path);
    green::log::warning("queue.aside",
                        {{"queue", queue},
                         {"path", aside},
                         {"why", is_in_file ? maker + "; " + how + ", or remove it"
                                            : maker + ", and the file has no such queue; " + how +
                                                  ", with a file that has it; or remove it"}});
}

}  // namespace

void refuse(const QueueConfig& queue, const std::string& what, std::string hint) {
    throw Refusal::at("queues." + queue.name, Code::files, what, std::move(hint));
}

std::uint64_t messages_of(const shm::Status& status) {
    return status.ready + status.leased + status.delayed + status.dead;
}

void Aside::put_back() noexcept {
    if (aside_.empty()) return;
    if (sys::rename(aside_.c_str(), path_.c_str()).ok())
        green::log::info("queue.put_back", {{"queue", queue_}, {"path", path_}});
    aside_.clear();
}

std::vector<std::string> asides_of(const std::string& path) {
    namespace fs = std::filesystem;
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator it{fs::path{path}.parent_path(), error}, end; !error && it != end;
         it.increment(error))
        if (it->path().native().starts_with(path + ".v")) found.push_back(it->path().native());
    std::sort(found.begin(), found.end());
    return found;
}

std::string how_to_get_at(const std::string& path) {
    return "to get at its messages, stop, rename it to " + path +
           " and run the version that has made it until the queue is empty";
}

void tell_of_asides(const std::string& path, const QueueConfig& queue) {
    for (const auto& aside : asides_of(path)) tell_of_aside(aside, path, queue.name, true);
}

void tell_of_the_unnamed(const std::string& directory, const Config& config) {
    namespace fs = std::filesystem;
    std::vector<fs::path> found;
    std::set<std::string> put_aside;  // what they were before
    std::error_code error;
    for (fs::directory_iterator it{directory, error}, end; !error && it != end;
         it.increment(error)) {
        const auto file = it->path().filename().native();
        const auto end_of_name = std::min(file.size(), file.find(".queue"));
        if (config.queue(file.substr(0, end_of_name)) != nullptr) continue;
        if (file.ends_with(".queue.new")) {
            green::ipc::shm::Segment::remove_draft(it->path().parent_path() / it->path().stem());
            continue;
        }
        if (it->path().extension() == ".queue") found.push_back(it->path());
        if (file.find(".queue.v") == end_of_name)
            put_aside.insert(directory + "/" + file.substr(0, end_of_name) + ".queue");
    }
    for (const auto& path : put_aside)
        for (const auto& aside : asides_of(path))
            tell_of_aside(aside, path, fs::path{path}.stem().native(), false);
    std::sort(found.begin(), found.end());
    for (const auto& path : found) {
        const auto name = path.stem().native();
        const auto count = messages_in(path);
        if (count == 0u && sys::unlink(path.c_str()).ok()) {
            green::log::info("queue.removed",
                             {{"queue", name},
                              {"path", path.native()},
                              {"why", "its segment was empty, and the file has no such queue"}});
            continue;
        }
        green::log::warning("queue.unnamed",
                            {{"queue", name},
                             {"messages", count ? std::to_string(*count) : "not known"},
                             {"path", path.native()},
                             {"why", not_in_file}});
    }
}

void tell_of_replaced(const QueueConfig& queue, std::uint32_t version) {
    green::log::info("queue.replaced",
                     {{"queue", queue.name},
                      {"why", "its empty segment was of version " + std::to_string(version)}});
}

bool set_aside(const std::string& path, const QueueConfig& queue, std::uint32_t version,
               Aside& into) {
    const auto count = messages_in(path);
    if (count == 0u) return false;
    const auto first = path + ".v" + std::to_string(version);
    auto aside = first;
    for (int n = 2; ::access(aside.c_str(), F_OK) == 0; ++n)
        aside = first + "." + std::to_string(n);
    const auto moved = sys::rename(path.c_str(), aside.c_str());
    if (!moved.ok())
        refuse(queue,
               "cannot rename " + path + ", which is of version " + std::to_string(version) + ": " +
                   std::strerror(moved.error),
               "rename it by hand, to a name that does not end in .queue");
    into.set(queue.name, path, aside);
    green::log::error("queue.set_aside",
                      {{"queue", queue.name},
                       {"messages", count ? std::to_string(*count) : "not known"},
                       {"path", aside},
                       {"why", "another version of greensup has made it; " + how_to_get_at(path)}});
    return true;
}

}  // namespace greensup
