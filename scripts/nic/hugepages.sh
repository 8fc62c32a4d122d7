# shellcheck shell=bash
# Hugepages: what there is for each NUMA node, reserving them, giving them back. Sourced by nic.sh after machine.sh.
# What nic.sh and machine.sh set:
# shellcheck disable=SC2154

nodes=$at/sys/devices/system/node
# Read by systemd at each boot.
boot_file=$at/etc/tmpfiles.d/wireglass-hugepages.conf

# Prints the file with the number of a node's pages: NODE and KB, that is 2048 or 1048576.
pages_file() { printf '%s/node%s/hugepages/hugepages-%skB/nr_hugepages' "$nodes" "$1" "$2"; }

size_name() { if [[ $1 == 2048 ]]; then printf '2 MB'; else printf '1 GB'; fi; }

size_option() { if [[ $1 == 2048 ]]; then printf 2M; else printf 1G; fi; }

# Prints where hugetlbfs with pages of so many KB is mounted; nothing if nowhere.
mounted_at() {
    local kb=$1 place kind options size
    while read -r _ place kind options _; do
        [[ $kind == hugetlbfs ]] || continue
        # Kernels say the size; where it is missing, it is the usual one.
        size=2048
        if [[ ,$options, == *,pagesize=1G,* || ,$options, == *,pagesize=1024M,* ]]; then size=1048576; fi
        if [[ $size == "$kb" ]]; then
            printf '%s' "$place"
            return
        fi
    done < <(cat "$at/proc/mounts" 2>/dev/null || true)
}

# Prints one line for each node.
show_hugepages() {
    local node kb file line
    for node in "$nodes"/node[0-9]*; do
        line=
        for kb in 2048 1048576; do
            file=$(pages_file "${node##*/node}" "$kb")
            if [[ -e $file ]]; then
                line+="  $(size_name "$kb"): $(read_line "$file"), free $(read_line "${file%/*}/free_hugepages")"
            else
                line+="  $(size_name "$kb"): not on this CPU"
            fi
        done
        say "  ${node##*/}$line"
    done
    for kb in 2048 1048576; do
        line=$(mounted_at "$kb")
        say "  $(size_name "$kb") mounted at: ${line:-nowhere}"
    done
    if [[ -e $boot_file ]]; then say "  at each boot: ${boot_file#"$at"}"; else say "  at each boot: none by this script"; fi
}

# There are pages of so many KB on some node.
pages_of_size() {
    local file
    for file in "$nodes"/node*/hugepages/"hugepages-$1kB/nr_hugepages"; do
        if [[ -e $file && $(read_line "$file") != 0 ]]; then return 0; fi
    done
    return 1
}

# Sees to it that a node has at least COUNT pages of so many KB.
reserve_pages() {
    local node=$1 kb=$2 count=$3 file had has record
    file=$(pages_file "$node" "$kb")
    [[ -d $nodes/node$node ]] || die "there is no NUMA node $node"
    if [[ ! -e $file ]]; then
        if [[ $kb == 1048576 ]]; then
            die "no 1 GB pages here: the CPU flag pdpe1gb is missing (in a virtual machine: pass the host's CPU on). Use 2 MB pages"
        fi
        die "this kernel has no 2 MB pages"
    fi
    had=$(read_line "$file")
    if ((had >= count)); then
        say "node$node: $had pages of $(size_name "$kb") are reserved already"
    else
        record=$state/pages.$node.$kb
        if [[ ! -e $record ]]; then remember "$record" "$had"; fi
        put "$count" "$file" || true
        has=$(read_line "$file")
        if [[ -z $dry ]] && ((has < count)); then
            # Free memory may only be in pieces.
            put 1 "$at/proc/sys/vm/compact_memory" || true
            put "$count" "$file" || true
            has=$(read_line "$file")
        fi
        if [[ -z $dry ]] && ((has < count)); then
            put "$had" "$file" || true
            rm -f "$record"
            rmdir "$state" 2>/dev/null || true
            die "node$node has no room for $count pages of $(size_name "$kb"): the kernel found $has, and took none. $(boot_hint "$kb" "$count")"
        fi
        told "node$node: $count pages of $(size_name "$kb"), were $had"
    fi
    mount_pages "$kb"
    if [[ -n $persistent ]]; then keep_at_boot "$node" "$kb" "$count"; fi
}

boot_hint() {
    if [[ $1 == 1048576 ]]; then
        printf 'Reserve them at boot, before memory is in pieces: "hugepagesz=1G hugepages=%s" on the kernel'"'"'s command line' "$2"
    else
        printf 'Free memory (free -m), ask for fewer, or reserve them at boot: "hugepages=%s" on the kernel'"'"'s command line' "$2"
    fi
}

# DPDK looks for a mount of each size.
mount_pages() {
    local kb=$1 place=/dev/hugepages options=pagesize=2M
    [[ -z $(mounted_at "$kb") ]] || return 0
    if [[ $kb == 1048576 ]]; then place=/dev/hugepages1G options=pagesize=1G; fi
    change mkdir -p "$at$place"
    change mount -t hugetlbfs -o "$options" nodev "$at$place"
    if [[ -z $dry ]]; then printf '%s\n' "$place" >>"$state/mounts"; fi
    told "hugetlbfs ($(size_name "$kb")) mounted at $place"
}

keep_at_boot() {
    local line file
    file=$(pages_file "$1" "$2")
    line="w ${file#"$at"} - - - - $3"
    if [[ -n $dry ]]; then
        say "would write \"$line\" to ${boot_file#"$at"}"
        return
    fi
    mkdir -p "${boot_file%/*}"
    {
        printf '# Hugepages for wireglass, by scripts/nic.sh; "nic.sh unbind" removes this file.\n'
        grep '^w ' "$boot_file" 2>/dev/null | grep -vF "${file#"$at"} " || true
        printf '%s\n' "$line"
    } >"$boot_file.new"
    mv "$boot_file.new" "$boot_file"
    say "and at each boot: ${boot_file#"$at"}"
}

# Undoes all of the above.
give_pages_back() {
    local record name node kb had place free
    for record in "$state"/pages.*; do
        [[ -e $record ]] || continue
        name=${record##*/pages.}
        node=${name%.*} kb=${name#*.}
        had=$(read_line "$record")
        put "$had" "$(pages_file "$node" "$kb")" || true
        forget "$record"
        free=$(read_line "$(pages_file "$node" "$kb")")
        told "node$node: $had pages of $(size_name "$kb"), as before"
        if [[ -z $dry && $free != "$had" ]]; then say "  $free are there until the process that uses them ends"; fi
    done
    if [[ -e $state/mounts ]]; then
        while read -r place; do
            if change umount "$at$place"; then told "$place unmounted"; else say "$place stays mounted: it is in use"; fi
        done <"$state/mounts"
        forget "$state/mounts"
    fi
    if [[ -e $boot_file ]]; then
        change rm -f "$boot_file"
        told "${boot_file#"$at"} removed: no pages at the next boot"
    fi
}
