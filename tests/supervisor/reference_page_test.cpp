// The reference page and the schema say the same.
#include <catch2/catch.hpp>

#include "config_schema.hpp"
#include "support/text_files.hpp"

using namespace greensup;

namespace {

std::string reference_page() {
    return tests::text_of(GREENSUP_SOURCE "/docs/reference/workers-toml.md");
}

/// The part of the page between the heading of this section and the next one of its level.
std::string section_of(const std::string& page, const std::string& heading) {
    const auto begin = page.find("\n## " + heading + "\n");
    REQUIRE(begin != std::string::npos);
    return page.substr(begin, page.find("\n## ", begin + 1) - begin);
}

/// The row of a key: "| `key` | type | default | effect | meaning |".
template <class Section>
void check_section(const std::string& heading, const Schema<Section>& schema) {
    const auto section = section_of(reference_page(), heading);
    std::size_t rows = 0;
    for (std::size_t at = section.find("\n| `"); at != std::string::npos;
         at = section.find("\n| `", at + 1))
        ++rows;
    CHECK(rows == schema.keys.size());
    for (const auto& key : schema.keys) {
        INFO(heading << " " << key.name);
        const auto begin = section.find("\n| `" + key.name + "` |");
        CHECK(begin != std::string::npos);
        if (begin == std::string::npos) continue;
        const auto row = section.substr(begin + 1, section.find('\n', begin + 1) - begin - 1);
        CHECK(row.find("| " + std::string(to_text(key.effect)) + " |") != std::string::npos);
        const bool told_required = row.find("| required |") != std::string::npos;
        CHECK(told_required == !key.must.empty());
        // Defaults that are one value are written as the schema shows them.
        const auto shown = key.show(Section{});
        const bool fixed = !shown.empty() && shown != "0" && !told_required && shown.front() != '[';
        if (fixed)
            CHECK((row.find("`" + shown + "`") != std::string::npos ||
                   row.find("\"" + shown + "\"") != std::string::npos));
    }
}

}  // namespace

TEST_CASE("reference page: every key of the schema has its row with its effect and default",
          "[supervisor][config]") {
    check_section("[supervisor]", supervisor_schema());
    check_section("[sockets.NAME]", socket_schema());
    check_section("[queues.NAME]", queue_schema());
    check_section("[pipes.NAME]", pipe_schema());
    check_section("[workers.NAME]", worker_schema());
}
