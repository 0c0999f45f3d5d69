#include "queue_file.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <system_error>

#include <green/log.hpp>
#include <green/sys.hpp>

#include "open_queue.hpp"
#include "refusal.hpp"
#include "segment_aside.hpp"
#include "units.hpp"

namespace greensup {
namespace {

namespace sys = green::sys;

// One more than there are workers: the last number is the keeper's own, for its place among those
// who sleep.
constexpr std::uint32_t members = OpenQueue::most_owners + 1;
constexpr std::uint64_t dedup_ids = 65536;  // 2 MiB

/// A number for a schema that is a name: what a segment was made for has to be recognised, not
/// read back.
std::uint64_t schema_id(const std::string& schema) {
    if (schema == "bytes") return 0;
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : schema) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

std::uint64_t nanoseconds(green::Duration duration) {
    return static_cast<std::uint64_t>(duration.count());
}

std::string space_hint(const std::string& path, const QueueConfig& queue) {
    auto hint = "the queue needs its whole size at once: lower max_bytes (" +
                size_text(queue.max_bytes) + "), or choose a run_dir with more space";
    for (const auto& aside : asides_of(path))
        hint += "; " + aside + " keeps its own: " + how_to_get_at(path);
    return hint;
}

}  // namespace

std::string path_of(const std::string& directory, const QueueConfig& queue) {
    return directory + "/" + queue.name + ".queue";
}

shm::Config figures_of(const QueueConfig& queue) {
    shm::Config config;
    config.schema_id = schema_id(queue.schema);
    config.payload_bytes = queue.max_bytes;
    config.dedup_ids = dedup_ids;
    config.capacity = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(queue.capacity, std::numeric_limits<std::uint32_t>::max()));
    config.members = members;
    config.max_message = config.largest_message();  // max_message itself may change any time
    return config;
}

shm::Settings settings_of(const QueueConfig& queue, bool has_dead_letter) {
    shm::Settings settings;
    settings.lease = nanoseconds(queue.lease);
    settings.max_deliveries = static_cast<std::uint64_t>(queue.max_deliveries);
    settings.has_dead_letter = has_dead_letter;
    settings.time_to_live = nanoseconds(queue.ttl);
    settings.max_message = queue.max_message;
    settings.when_full = static_cast<shm::WhenFull>(queue.when_full);
    settings.at_most_once = queue.delivery == Delivery::at_most_once;
    settings.high = static_cast<std::uint64_t>(queue.high_percent);
    settings.low = static_cast<std::uint64_t>(queue.low_percent);
    return settings;
}

void check_figures(const QueueConfig& queue) {
    if (const auto problem = figures_of(queue).problem(); !problem.empty())
        refuse(queue, problem, "change the figures in [queues." + queue.name + "]");
}

std::unique_ptr<shm::Keeper> make_segment(const std::string& path, const QueueConfig& queue,
                                          bool replaces) {
    check_figures(queue);
    try {
        const auto config = figures_of(queue);
        auto keeper = std::make_unique<shm::Keeper>(replaces ? shm::Segment::replace(path, config)
                                                             : shm::Segment::create(path, config));
        keeper->recover();
        return keeper;
    } catch (const std::system_error& error) {
        refuse(queue, error.what(),
               shm::is_want_of_room(error.code().value()) ? space_hint(path, queue) : "");
    }
}

void check_schema(const shm::Keeper& keeper, const QueueConfig& queue) {
    if (keeper.segment().config().schema_id == schema_id(queue.schema)) return;
    const auto& path = keeper.segment().path();
    const auto count = messages_of(keeper.status());
    if (count == 0) return;
    throw Refusal::at(
        "queues." + queue.name + ".schema", Code::files,
        "\"" + queue.schema + "\" is not the schema of the " + std::to_string(count) +
            " messages that are in the queue, in " + path,
        "start with the schema that it had until the queue is empty, or give the new one another "
        "name; if its messages do not matter, remove it: rm " +
            path);
}

bool is_to_be_remade(const shm::Keeper& keeper, const QueueConfig& queue) {
    return keeper.segment().config() != figures_of(queue) && messages_of(keeper.status()) == 0;
}

green::Fd open_file(const std::string& path, const QueueConfig& queue) {
    const auto opened = sys::open(path.c_str(), O_RDWR | O_NOFOLLOW);
    if (!opened.ok()) refuse(queue, "cannot open " + path + ": " + std::strerror(opened.error), "");
    return green::Fd{opened.as_int()};
}

void keep_as_it_is(const shm::Keeper& keeper, const QueueConfig& queue) {
    green::log::warning("queue.kept", {{"queue", queue.name},
                                       {"messages", messages_of(keeper.status())},
                                       {"max_bytes", keeper.segment().config().payload_bytes},
                                       {"capacity", keeper.segment().config().capacity},
                                       {"why",
                                        "it holds messages; its new figures apply once it "
                                        "was empty at a start"}});
}

}  // namespace greensup
