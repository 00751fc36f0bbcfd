// The verbs, a file each. A verb gets what stands behind its name on the command line and returns how the program ends.
#pragma once
#include <span>
#include <string_view>

#include "cli/console.hpp"
#include "cli/exit_codes.hpp"

namespace cowvet::cli {

struct Verb {
  std::string_view name, summary;
  Exit (*run)(std::span<char* const> arguments, Console& console);
};

Exit check(std::span<char* const> arguments, Console& console);
Exit repair(std::span<char* const> arguments, Console& console);
Exit chain(std::span<char* const> arguments, Console& console);
Exit revert_check(std::span<char* const> arguments, Console& console);
Exit undo(std::span<char* const> arguments, Console& console);
Exit info(std::span<char* const> arguments, Console& console);
Exit map(std::span<char* const> arguments, Console& console);
Exit create(std::span<char* const> arguments, Console& console);
Exit convert(std::span<char* const> arguments, Console& console);
Exit dd(std::span<char* const> arguments, Console& console);
Exit commit(std::span<char* const> arguments, Console& console);
Exit rebase(std::span<char* const> arguments, Console& console);
Exit pull(std::span<char* const> arguments, Console& console);
Exit measure(std::span<char* const> arguments, Console& console);
Exit carve(std::span<char* const> arguments, Console& console);
Exit salvage(std::span<char* const> arguments, Console& console);
Exit snapshot(std::span<char* const> arguments, Console& console);
Exit resize(std::span<char* const> arguments, Console& console);
Exit amend(std::span<char* const> arguments, Console& console);
Exit bitmap(std::span<char* const> arguments, Console& console);
Exit compare(std::span<char* const> arguments, Console& console);
Exit io(std::span<char* const> arguments, Console& console);
Exit bench(std::span<char* const> arguments, Console& console);
Exit model(std::span<char* const> arguments, Console& console);
Exit dump(std::span<char* const> arguments, Console& console);
Exit layout(std::span<char* const> arguments, Console& console);
Exit rules(std::span<char* const> arguments, Console& console);
Exit schema(std::span<char* const> arguments, Console& console);

// In the order of the help.
inline constexpr Verb verbs[] = {
    {"check", "Say whether images are sound, and what exactly is wrong where", check},
    {"repair", "Mend what is wrong with an image; the plan can be read first, and undone", repair},
    {"chain", "Say what images stand on, what stands on them, and whether it fits together", chain},
    {"revert-check", "Say whether going back to a snapshot is safe, and what would be lost", revert_check},
    {"undo", "Make an image what it was before a repair", undo},
    {"info", "Print what an image says of itself", info},
    {"map", "Print where the bytes of a disk lie", map},
    {"create", "Make a new image", create},
    {"convert", "Copy the content of images into another one", convert},
    {"dd", "Copy a part of an image into another one", dd},
    {"commit", "Write what an overlay holds into its backing file, or a range of a chain", commit},
    {"rebase", "Give an image another backing file, or none", rebase},
    {"pull", "Copy what lies below an image into it", pull},
    {"measure", "Tell how much space a new image would take", measure},
    {"salvage", "Copy everything that can be read of a damaged image into new files", salvage},
    {"carve", "Find deleted snapshots and earlier states that are still in the file", carve},
    {"snapshot", "List, take, apply and remove the snapshots inside an image", snapshot},
    {"resize", "Make a disk larger or smaller", resize},
    {"amend", "Change the options of an image", amend},
    {"bitmap", "Add, remove and change dirty bitmaps", bitmap},
    {"compare", "Say whether two images show the same disk", compare},
    {"io", "Read and write a disk, in qemu-io's command language", io},
    {"bench", "Measure how fast an image is read or written", bench},
    {"model", "Hold cowvet's engine, or an installed qemu-img, against a reference model", model},
    {"dump", "Show any structure of an image, field by field", dump},
    {"layout", "Print who owns every byte of the file", layout},
    {"rules", "List everything that is checked, or explain one rule", rules},
    {"schema", "Print the JSON Schema of a verb's JSON", schema},
};

// The whole program: `arguments` without the program's own name.
[[nodiscard]] Exit run(std::span<char* const> arguments, Console& console);

}  // namespace cowvet::cli
